//! Accounts, the organisation, teams.

use serde_json::json;

use super::route::{Answer, Ctx, Reply, not_found, refuse};
use super::state::{Holder, Team};

pub(super) fn route(ctx: &mut Ctx<'_>, method: &str, segments: &[&str]) -> Option<Answer> {
    Some(match (method, segments) {
        ("GET", ["user"]) => match ctx.actor {
            Holder::User(id) => Ok(Reply::Json(200, private(ctx, id))),
            Holder::Anonymous => refuse(401, "Requires authentication"),
            _ => refuse(403, "Resource not accessible by integration"),
        },
        ("GET", ["user", "keys"]) => keys(ctx, ctx.account()),
        ("GET", ["user", id]) => match id.parse() {
            Ok(id) if ctx.state.users.contains_key(&id) => Ok(Reply::Json(200, ctx.view().public_user(id))),
            _ => not_found(),
        },
        ("GET", ["users", login]) => match ctx.state.user(login).map(|user| user.id) {
            Some(id) => Ok(Reply::Json(200, ctx.view().public_user(id))),
            None => not_found(),
        },
        ("GET", ["users", login, "keys"]) => match ctx.state.user(login).map(|user| user.id) {
            Some(id) => keys(ctx, id),
            None => not_found(),
        },
        (_, ["orgs", organisation, rest @ ..]) if organisation.eq_ignore_ascii_case(&ctx.state.organisation.login) => {
            return in_organisation(ctx, method, rest);
        }
        (_, ["organizations", id, "team", team, rest @ ..]) if *id == ctx.state.organisation.id.to_string() => {
            let slug = ctx.state.teams.values().find(|known| known.id.to_string() == *team)?.slug.clone();
            return in_team(ctx, method, &slug, rest);
        }
        _ => return None,
    })
}

fn private(ctx: &Ctx<'_>, id: u64) -> serde_json::Value {
    let mut user = ctx.view().public_user(id);
    for field in ["private_gists", "total_private_repos", "owned_private_repos", "disk_usage", "collaborators"] {
        user[field] = json!(0);
    }
    user["two_factor_authentication"] = json!(true);
    user
}

fn keys(ctx: &Ctx<'_>, id: u64) -> Answer {
    let keys = ctx.state.users.get(&id).map(|user| user.keys.clone()).unwrap_or_default();
    Ok(Reply::List(keys.iter().map(|(id, key)| json!({ "id": id, "key": key })).collect()))
}

fn in_organisation(ctx: &mut Ctx<'_>, method: &str, rest: &[&str]) -> Option<Answer> {
    if !ctx.is_inside() && rest != ["installation"] {
        return Some(not_found());
    }
    Some(match (method, rest) {
        ("GET", []) => Ok(Reply::Json(200, ctx.view().full_organisation())),
        ("GET", ["installation"]) => super::app::installation(ctx),
        ("GET", ["members"]) => {
            let members: Vec<u64> = ctx.state.organisation.members.iter().copied().collect();
            Ok(Reply::List(members.into_iter().map(|id| ctx.view().user(id)).collect()))
        }
        ("GET", ["members", login]) => match is_member(ctx, login) {
            true => Ok(Reply::Empty(204)),
            false => refuse(404, "User does not exist or is not a member of the organization"),
        },
        ("DELETE", ["members", login]) => match ctx.state.user(login).map(|user| user.id) {
            Some(id) if ctx.is_owner() => {
                ctx.state.organisation.members.remove(&id);
                ctx.state.teams.values_mut().for_each(|team| {
                    team.members.remove(&id);
                });
                super::webhooks::organisation(ctx.sandbox, ctx.state, "member_removed", id);
                Ok(Reply::Empty(204))
            }
            Some(_) => refuse(403, "You must be an admin to remove a member."),
            None => not_found(),
        },
        ("GET", ["memberships", login]) => match ctx.state.user(login).map(|user| user.id) {
            Some(id) if ctx.state.organisation.members.contains(&id) => {
                let organisation = ctx.view().organisation();
                let role = if ctx.state.organisation.owners.contains(&id) { "admin" } else { "member" };
                let url = organisation["url"].as_str().unwrap_or_default().to_owned();
                Ok(Reply::Json(
                    200,
                    json!({
                        "url": format!("{url}/memberships/{login}"), "state": "active", "role": role, "organization_url": url,
                        "organization": organisation, "user": ctx.view().user(id),
                    }),
                ))
            }
            _ => not_found(),
        },
        ("GET", ["teams"]) => Ok(Reply::List(ctx.state.teams.values().map(|team| ctx.view().team(team)).collect())),
        ("POST", ["teams"]) if ctx.is_owner() => create_team(ctx),
        (_, ["teams", slug, rest @ ..]) => {
            let slug = ctx.state.teams.keys().find(|known| known.eq_ignore_ascii_case(slug)).cloned();
            match slug {
                Some(slug) => return in_team(ctx, method, &slug, rest),
                None => not_found(),
            }
        }
        _ => return None,
    })
}

fn is_member(ctx: &Ctx<'_>, login: &str) -> bool {
    ctx.state.user(login).is_some_and(|user| ctx.state.organisation.members.contains(&user.id))
}

fn create_team(ctx: &mut Ctx<'_>) -> Answer {
    let name = ctx.required("name")?;
    let slug = name.to_ascii_lowercase().replace(' ', "-");
    let parent = ctx.body.get("parent_team_id").and_then(serde_json::Value::as_u64);
    let parent = ctx.state.teams.values().find(|team| Some(team.id) == parent).map(|team| team.slug.clone());
    let (id, now) = (ctx.state.id(), ctx.now());
    let team = Team {
        id,
        slug: slug.clone(),
        parent,
        members: Default::default(),
        invited: Default::default(),
        created_at: now,
    };
    ctx.state.teams.insert(slug, team.clone());
    Ok(Reply::Json(201, ctx.view().full_team(&team)))
}

fn in_team(ctx: &mut Ctx<'_>, method: &str, slug: &str, rest: &[&str]) -> Option<Answer> {
    Some(match (method, rest) {
        ("GET", []) => {
            let team = ctx.state.teams.get(slug)?;
            Ok(Reply::Json(200, ctx.view().full_team(team)))
        }
        ("GET", ["members"]) => {
            Ok(Reply::List(ctx.state.team_members(slug).into_iter().map(|id| ctx.view().user(id)).collect()))
        }
        ("GET", ["memberships", login]) => match ctx.state.user(login).map(|user| user.id) {
            Some(id) => membership(ctx, slug, login, id),
            None => not_found(),
        },
        ("PUT", ["memberships", login]) => match ctx.state.user(login).map(|user| user.id) {
            _ if !may_manage(ctx) => {
                refuse(403, "You must be an organization owner or team maintainer to add a team membership.")
            }
            Some(id) => {
                let member = ctx.state.organisation.members.contains(&id);
                let team = ctx.state.teams.get_mut(slug)?;
                let new = if member { team.members.insert(id) } else { team.invited.insert(id) };
                if member && new {
                    let actor = ctx.account();
                    super::webhooks::membership(ctx.sandbox, ctx.state, "added", slug, id, actor);
                }
                membership(ctx, slug, login, id)
            }
            None => not_found(),
        },
        ("DELETE", ["memberships", login]) => match ctx.state.user(login).map(|user| user.id) {
            _ if !may_manage(ctx) => {
                refuse(403, "You must be an organization owner or team maintainer to remove a team membership.")
            }
            Some(id) => {
                let team = ctx.state.teams.get_mut(slug)?;
                let (was, invited) = (team.members.remove(&id), team.invited.remove(&id));
                if was {
                    let actor = ctx.account();
                    super::webhooks::membership(ctx.sandbox, ctx.state, "removed", slug, id, actor);
                }
                if was || invited { Ok(Reply::Empty(204)) } else { not_found() }
            }
            None => not_found(),
        },
        _ => return None,
    })
}

fn may_manage(ctx: &Ctx<'_>) -> bool {
    ctx.is_app() || ctx.is_owner()
}

fn membership(ctx: &Ctx<'_>, slug: &str, login: &str, id: u64) -> Answer {
    let Some(team) = ctx.state.teams.get(slug) else { return not_found() };
    let state = match (ctx.state.team_members(slug).contains(&id), team.invited.contains(&id)) {
        (true, _) => "active",
        (false, true) => "pending",
        (false, false) => return not_found(),
    };
    let url = ctx.view().team(team)["url"].as_str().unwrap_or_default().to_owned();
    Ok(Reply::Json(200, json!({ "url": format!("{url}/memberships/{login}"), "role": "member", "state": state })))
}
