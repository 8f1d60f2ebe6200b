//! Deliberately broken variants of the rules, for the simulation to catch: a check of the checks. They exist only with the
//! feature `simulation`, which no release has; without it `is` is always false and costs nothing.

/// A variant that breaks promises of `docs/reliability.md`: those that are named. It is caught when one of them is seen broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// I1: an approval from before the last push counts.
    CountStaleReviews = 1,
    /// I1: whoever wrote a commit approves it.
    CountInvolvedReviews,
    /// I1: a co-author, named in a commit's message only, approves it.
    CountCoauthors,
    /// I1: one person says yes for two stages.
    OnePersonTwoStages,
    /// I1: an approval that is given after the merge counts.
    CountReviewsAfterMerge,
    /// I1: an approval from before the pull request was closed and reopened counts.
    CountReviewsBeforeReopening,
    /// I1: what was merged need not be what was approved.
    ApplyOtherContent,
    /// I1, I7: whatever is merged is applied.
    TrustEveryMerge,
    /// I1: anybody ends a running grant of somebody else by a request in its place.
    ReplaceAnybodys,
    /// I2: access ends half an hour late.
    ExpireLate,
    /// I2: a revocation that failed is forgotten.
    ForgetFailedRevocation,
    /// I2: access is taken away only while GitHub answers.
    AskGithubBeforeRevoking,
    /// I3: an event that is written twice is on record twice.
    DoubleEvents,
    /// I3: the end of a grant is not on record.
    ForgetEndEvent,
    /// I4, I7: nothing is looked at without a webhook.
    TrustWebhooks,
    /// I2, I4: what failed once is not tried again.
    NeverRetry,
    /// I5: what two grants give goes with the first that ends.
    RevokeShared,
    /// I5: the same, with teams only.
    RevokeSharedTeam,
    /// I5: access somebody had before is taken for Daypass's own.
    ForgetStanding,
    /// I5: the same, with teams only.
    ForgetStandingTeam,
    /// I6: what an earlier database applied is not known to the next.
    ForgetAppliedWithDatabase,
    /// I6: a new database looks at nothing that was there before it.
    RebuildNothing,
    /// I7: refused files stay where they are.
    LeaveRefusedFiles,
    /// I7: what nobody vouches for is neither applied nor refused.
    IgnoreUnverified,
    /// I1, I7: a grant that is over begins again when history is set back.
    BeginAgain,
    /// I1: a planned grant starts without a second look.
    StartBlindly,
    /// I2, I4: a process that was paused and lost its work goes on as if it had not.
    IgnoreLostLease,
    /// I8: errors of GitHub tell the installation's token.
    TellTokens,
    /// I8: errors of GitHub tell what the app proves itself with.
    TellProofs,
    /// I1, I7: a policy is in force as soon as it is on the default branch.
    TrustEveryPolicy,
    /// I1: anybody may break the glass.
    BreakAnyGlass,
    /// I1: as many have a role as like.
    ForgetLimits,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 32] = [
        Self::CountStaleReviews,
        Self::CountInvolvedReviews,
        Self::CountCoauthors,
        Self::OnePersonTwoStages,
        Self::CountReviewsAfterMerge,
        Self::CountReviewsBeforeReopening,
        Self::ApplyOtherContent,
        Self::TrustEveryMerge,
        Self::ReplaceAnybodys,
        Self::ExpireLate,
        Self::ForgetFailedRevocation,
        Self::AskGithubBeforeRevoking,
        Self::DoubleEvents,
        Self::ForgetEndEvent,
        Self::TrustWebhooks,
        Self::NeverRetry,
        Self::RevokeShared,
        Self::RevokeSharedTeam,
        Self::ForgetStanding,
        Self::ForgetStandingTeam,
        Self::ForgetAppliedWithDatabase,
        Self::RebuildNothing,
        Self::LeaveRefusedFiles,
        Self::IgnoreUnverified,
        Self::BeginAgain,
        Self::StartBlindly,
        Self::IgnoreLostLease,
        Self::TellTokens,
        Self::TellProofs,
        Self::TrustEveryPolicy,
        Self::BreakAnyGlass,
        Self::ForgetLimits,
    ];

    /// The promises it breaks, as documented above.
    pub const fn breaks(self) -> &'static [&'static str] {
        match self {
            Self::CountStaleReviews
            | Self::CountInvolvedReviews
            | Self::CountCoauthors
            | Self::OnePersonTwoStages
            | Self::CountReviewsAfterMerge
            | Self::CountReviewsBeforeReopening
            | Self::ApplyOtherContent
            | Self::ReplaceAnybodys
            | Self::StartBlindly
            | Self::BreakAnyGlass
            | Self::ForgetLimits => &["I1"],
            Self::TrustEveryMerge | Self::BeginAgain | Self::TrustEveryPolicy => &["I1", "I7"],
            Self::ExpireLate | Self::ForgetFailedRevocation | Self::AskGithubBeforeRevoking => &["I2"],
            Self::NeverRetry | Self::IgnoreLostLease => &["I2", "I4"],
            Self::DoubleEvents | Self::ForgetEndEvent => &["I3"],
            Self::TrustWebhooks => &["I4", "I7"],
            Self::RevokeShared | Self::RevokeSharedTeam | Self::ForgetStanding | Self::ForgetStandingTeam => &["I5"],
            Self::ForgetAppliedWithDatabase | Self::RebuildNothing => &["I6"],
            Self::LeaveRefusedFiles | Self::IgnoreUnverified => &["I7"],
            Self::TellTokens | Self::TellProofs => &["I8"],
        }
    }
}

/// Which it is. `DAYPASS_MUTANT=Name` makes a mutant of every test: it shows which of them catch it.
#[cfg(feature = "simulation")]
static ACTIVE: std::sync::LazyLock<std::sync::atomic::AtomicU8> = std::sync::LazyLock::new(|| {
    let name = std::env::var("DAYPASS_MUTANT").unwrap_or_default();
    let mutant = Mutant::ALL.into_iter().find(|mutant| format!("{mutant:?}") == name);
    if mutant.is_none() && !name.is_empty() {
        // Otherwise the tests would pass, and show nothing.
        eprintln!("there is no mutant {name:?}; src/mutants.rs names them");
        std::process::exit(2);
    }
    mutant.map_or(0, |mutant| mutant as u8).into()
});

/// Makes this process a mutant, or well again.
#[cfg(feature = "simulation")]
pub fn set(mutant: Option<Mutant>) {
    ACTIVE.store(mutant.map_or(0, |mutant| mutant as u8), std::sync::atomic::Ordering::Relaxed);
}

/// Whether this process is that mutant.
#[cfg(feature = "simulation")]
pub(crate) fn is(mutant: Mutant) -> bool {
    ACTIVE.load(std::sync::atomic::Ordering::Relaxed) == mutant as u8
}

/// Whether this process is that mutant: never.
#[cfg(not(feature = "simulation"))]
pub(crate) const fn is(_mutant: Mutant) -> bool {
    false
}
