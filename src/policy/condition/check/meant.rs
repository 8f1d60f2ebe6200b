//! What somebody meant who wrote what never is, or asked for what is always there.

use cel::common::ast::{CallExpr, Expr, LiteralValue};
use cel::{IdedExpr, Value};

use super::{Check, Fact};
use crate::policy::condition::known::{Known, has_capitals};
use crate::policy::condition::literals;
use crate::policy::condition::types::{Environment, Record, Type};

impl Check<'_> {
    /// `has(…)` of a field that is never left out.
    pub(super) fn always_there(&mut self, node: &IdedExpr, record: Record, field: &str) -> Fact {
        let Some(types) = self.environment.field(record, field) else { return Type::Bool.into() };
        let name = format!("{}.{field}", record.name());
        let help = match types.known() {
            Some(types) if types.contains(&Type::Null) => format!("It is null where it is left out: `{name} != null`."),
            Some([Type::Text]) => format!("It is empty where it is left out: `{name} != ''`."),
            Some([Type::List(_)]) => format!("It may be empty: `size({name}) > 0`."),
            _ => String::new(),
        };
        self.certain(node, true, format!("this is always true: `{name}` is always there"), help);
        Fact { types: Type::Bool.into(), known: true.into() }
    }

    /// "Did you mean", if one side is written out.
    pub(super) fn meant(&self, left: (&IdedExpr, &Known), right: (&IdedExpr, &Known)) -> String {
        let (written, (node, known)) = match (&left.0.expr, &right.0.expr) {
            (Expr::Literal(_), _) => (left.1, right),
            (_, Expr::Literal(_)) => (right.1, left),
            _ => return String::new(),
        };
        literals::instead(written, &self.domain(node, known))
    }

    /// What a field could be in any role, for "did you mean": here it may be known.
    fn domain(&self, node: &IdedExpr, known: &Known) -> Known {
        let Expr::Select(select) = &node.expr else { return known.clone() };
        let record = match &select.operand.expr {
            Expr::Ident(name) if name == "role" => Record::Role,
            Expr::Ident(name) if name == "request" => Record::Request,
            _ => return known.clone(),
        };
        match Known::field(&Environment { role: None, ..*self.environment }, record, &select.field) {
            Known::Nothing => known.clone(),
            domain => domain,
        }
    }

    /// An element of a list that is written out and is a slip of the pen: `role.risk in ['high', 'criticl']`.
    pub(super) fn slips(&mut self, one: &Known, list: &IdedExpr) {
        let Expr::List(list) = &list.expr else { return };
        let some = matches!(one, Known::OneOf(possible) if possible.len() > 1) || *one == Known::LowerCase;
        for element in list.elements.iter().filter(|_| some) {
            let Expr::Literal(LiteralValue::String(text)) = &element.expr else { continue };
            let element_is = Known::OneOf(vec![Value::from(text.inner())]);
            if Known::compare("_==_", one, &element_is) == Some(false)
                && let help = literals::instead(&element_is, one)
                && help.starts_with("Did you mean")
            {
                self.certain(element, false, format!("it is never {:?}", text.inner()), help);
            }
        }
    }

    /// Why a text never holds another that is written out, and what was meant: logins have no capital letters.
    pub(super) fn never_holds(
        &self,
        name: &str,
        call: &CallExpr,
        asked: &IdedExpr,
        known: &Known,
    ) -> Option<(String, String)> {
        let Expr::Literal(LiteralValue::String(text)) = &call.args.last()?.expr else { return None };
        let is_asked = matches!(name, "contains" | "startsWith" | "endsWith") && *known == Known::LowerCase;
        (is_asked && has_capitals(text.inner())).then(|| {
            let written = Known::OneOf(vec![Value::from(text.inner())]);
            let message =
                format!("this is always false: `{}` is a text without capital letters", self.source.of(asked));
            (message, literals::instead(&written, known))
        })
    }
}
