//! Memberships as somebody writes them down: `teams: { engineering: [alice] }`, as in the `given` of a policy's tests.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Finding;
use super::name::{Login, TeamSlug};
use super::yaml;

/// The largest such file that is read, in bytes.
const LIMIT: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MembershipsFile {
    #[serde(default)]
    teams: BTreeMap<TeamSlug, Vec<Login>>,
}

/// Reads the members of teams.
pub fn read(path: &str, bytes: &[u8]) -> Result<BTreeMap<TeamSlug, Vec<Login>>, Finding> {
    yaml::read::<MembershipsFile>(path, bytes, LIMIT, &["teams"]).map(|file| file.teams)
}
