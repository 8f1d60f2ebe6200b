//! All that speaks GitHub, through octocrab.
