//! People: who a login is elsewhere.

use super::Resolver;
use crate::policy::Code;
use crate::policy::document::{OneOrMany, PersonDoc};
use crate::policy::kind::Form;
use crate::policy::model::Person;
use crate::policy::yaml::{At, Spot};

/// Characters a name in a system without a key of its own may have.
const LONGEST: usize = 255;

impl Resolver<'_> {
    pub(super) fn person(&mut self, owner: &Spot, document: PersonDoc) -> Person {
        let mut person = Person::default();
        for (key, value) in document.0.0 {
            let Some(value) = value else { continue };
            if !self.readable("this key", &key) {
                continue;
            }
            let many = matches!(&*value, OneOrMany::Many(_));
            if many && !matches!(key.as_str(), "ssh" | "ssh_keys") {
                let message = format!("`{}` is one text, not a list", *key);
                self.report.error(&value.spot, Code::WrongType, message, "Write it without brackets.");
                continue;
            }
            self.twice_among(owner, value.texts());
            let fine =
                value.texts().iter().map(|text| self.name_elsewhere(&key, text)).fold(true, |all, one| all & one);
            let mut texts = value.texts().iter().map(|text| text.trim().to_owned());
            match key.as_str() {
                _ if !fine => {}
                "ssh" => person.ssh = texts.collect(),
                "ssh_keys" => person.ssh_keys = texts.collect(),
                "email" => person.email = texts.next(),
                "postgres" => person.postgres = texts.next(),
                name => person.other.extend(texts.next().map(|text| (name.to_owned(), text))),
            }
        }
        person
    }

    /// Whether somebody can have this name in this system.
    fn name_elsewhere(&mut self, key: &str, text: &At<String>) -> bool {
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            let message = format!("`{key}` is empty or has control characters");
            self.report.error(&text.spot, Code::BadText, message, "");
            return false;
        }
        if !self.readable(&format!("`{key}`"), text) {
            return false;
        }
        let problem = match key {
            "email" if !is_email(text) => "is no e-mail address",
            "postgres" if Form::PostgresRole.problem(text).is_some() => "is no name of a role: it has 1 to 63 bytes",
            "ssh" if Form::SshPrincipal.problem(text).is_some() => {
                "is no login on a server: use letters, digits and - _ . @ : +"
            }
            // `from_openssh` reads no options before the key.
            "ssh_keys" if ssh_key::PublicKey::from_openssh(text.trim()).is_err() => {
                "is no public key in OpenSSH format: it begins as `ssh-ed25519 AAAA…`"
            }
            _ if text.chars().count() > LONGEST && key != "ssh_keys" => "is longer than 255 characters",
            _ => return true,
        };
        let message = format!("this {problem}");
        self.report.error(&text.spot, Code::BadPerson, message, Code::BadPerson.explanation());
        false
    }
}

/// An address as commits carry it: one `@` with something before it and a domain behind it. No quoted local parts.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.trim().rsplit_once('@') else { return false };
    let plain = |c: char| !c.is_whitespace() && !"@,;<>()[]\"\\".contains(c);
    let label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    let in_domain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.');
    text.len() <= 254
        && !local.is_empty()
        && local.chars().all(plain)
        && domain.chars().all(in_domain)
        && domain.split('.').all(label)
}
