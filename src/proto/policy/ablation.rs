//! Single rules of the language, switched off to prove that a comparison with recorded answers
//! would miss them. Only builds for tests can switch; elsewhere all of this is nothing.

/// A rule of the language that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is explained where it is asked for")]
pub enum Part {
    Approval,
    Capabilities,
    Checks,
    Companions,
    Definitions,
    ExitNodes,
    Funnel,
    Ipv4,
    LocalParts,
    Merging,
    OneWay,
    Principals,
    Reduction,
    Root,
    SelfRules,
    Shared,
    Steering,
    Subnets,
    Trials,
    Via,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Approval,
        Self::Capabilities,
        Self::Checks,
        Self::Companions,
        Self::Definitions,
        Self::ExitNodes,
        Self::Funnel,
        Self::Ipv4,
        Self::LocalParts,
        Self::Merging,
        Self::OneWay,
        Self::Principals,
        Self::Reduction,
        Self::Root,
        Self::SelfRules,
        Self::Shared,
        Self::Steering,
        Self::Subnets,
        Self::Trials,
        Self::Via,
    ];

    /// Whether it is switched off.
    #[cfg(not(feature = "ablation"))]
    pub(super) const fn is_off(self) -> bool {
        false
    }

    /// Whether it is switched off on this thread.
    #[cfg(feature = "ablation")]
    pub(super) fn is_off(self) -> bool {
        OFF.get() == Some(self)
    }
}

#[cfg(feature = "ablation")]
thread_local! {
    static OFF: std::cell::Cell<Option<Part>> = const { std::cell::Cell::new(None) };
}

/// Does something with a rule switched off on this thread.
#[cfg(feature = "ablation")]
pub fn without<T>(part: Part, f: impl FnOnce() -> T) -> T {
    OFF.set(Some(part));
    let result = f();
    OFF.set(None);
    result
}
