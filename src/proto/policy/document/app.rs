//! What a grant gives beside packets: capabilities that applications ask for.

use std::rc::Rc;

use crate::policy::ablation::Part;
use crate::wire::hujson::Kind;
use crate::wire::json::Json;

use super::fault::Fault;
use super::walk::At;

/// The `app` of a grant.
#[derive(Default)]
pub(super) struct App {
    /// A JSON object, if there are any capabilities.
    pub(super) caps: Option<Rc<[u8]>>,
    /// Capabilities that the sources get for the destinations to see.
    pub(super) companions: Vec<&'static str>,
}

/// Capabilities of the domain tailscale.com that a policy may grant.
const TAILSCALE_CAPS: [&str; 7] =
    ["drive", "golink", "kubernetes", "relay", "secrets", "tsidp", "webui"];

/// Capabilities that need another one on the way back (peercap.go: drive-sharer, relay-target).
const COMPANIONS: [(&str, &str); 2] = [
    ("tailscale.com/cap/drive", "tailscale.com/cap/drive-sharer"),
    ("tailscale.com/cap/relay", "tailscale.com/cap/relay-target"),
];

impl App {
    pub(super) fn read(at: &At<'_>) -> Result<Self, Fault> {
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        let mut companions = Vec::new();
        let mut empty = true;
        json.open('{');
        for (name, at) in at.members()? {
            capability(name).map_err(|m| at.fault(m))?;
            if !matches!(at.value().kind, Kind::Array(_)) {
                return Err(at.expected("an array of values"));
            }
            json.key(name);
            at.value().render(&mut json);
            let companion = COMPANIONS.iter().filter(|(cap, _)| *cap == name);
            companions.extend(companion.map(|(_, companion)| companion));
            empty = false;
        }
        json.close('}');
        let caps = (!empty).then(|| out.into());
        Ok(Self { caps, companions })
    }
}

fn capability(name: &str) -> Result<(), String> {
    let wrong = || format!("capability name must have the form {{domain}}/{{path}}: \"{name}\"");
    let (domain, path) = name.split_once('/').ok_or_else(wrong)?;
    let plain = name.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    if !domain.contains('.') || domain.contains(':') || path.is_empty() || !plain {
        return Err(wrong());
    }
    let own = path.strip_prefix("cap/").is_some_and(|cap| TAILSCALE_CAPS.contains(&cap));
    let reserved = domain == "tailscale.com" || domain.ends_with(".tailscale.com");
    if reserved && !own && !Part::Capabilities.is_off() {
        return Err(format!("capability name must not be in the tailscale.com domain: \"{name}\""));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities() {
        for good in ["example.com/cap/x", "a.b/c", "tailscale.com/cap/drive"] {
            assert_eq!(capability(good), Ok(()));
        }
        for bad in ["x", "example/cap", "https://a.b/c", "a.b/", "a.b/\"", "a.b/c d"] {
            assert!(capability(bad).unwrap_err().contains("{domain}/{path}"), "{bad}");
        }
        for bad in ["tailscale.com/cap/funnel", "tailscale.com/drive", "x.tailscale.com/cap/drive2"]
        {
            assert!(capability(bad).unwrap_err().contains("tailscale.com domain"), "{bad}");
        }
    }
}
