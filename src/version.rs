//! What this build is.

/// The version of the package, `MAJOR.MINOR.PATCH`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, if the build said so through `GRAMSCALE_COMMIT`.
pub const COMMIT: &str = match option_env!("GRAMSCALE_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// When it was built, if the build said so through `GRAMSCALE_BUILD_TIME`; builds are the same
/// bytes again without it.
pub const BUILD_TIME: &str = match option_env!("GRAMSCALE_BUILD_TIME") {
    Some(time) => time,
    None => "",
};

/// One line for people.
pub fn text() -> String {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("gramscale {VERSION} ({COMMIT}, {os}/{arch})")
}

/// The object that `/version` serves, with headscale's members; `go` holds the platform
/// and no language.
pub fn json() -> String {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!(
        "{{\"version\":\"{VERSION}\",\"commit\":\"{COMMIT}\",\"buildTime\":\"{BUILD_TIME}\",\
         \"go\":{{\"version\":\"\",\"os\":\"{os}\",\"arch\":\"{arch}\"}},\"dirty\":false}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_json() {
        let value: serde_json::Value = serde_json::from_str(&json()).expect("JSON");
        assert_eq!(value["version"], VERSION);
        assert_eq!(value["go"]["os"], "linux");
        assert!(text().starts_with("gramscale "));
    }
}
