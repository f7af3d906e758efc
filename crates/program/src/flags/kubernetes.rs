//! References to variables, `$(NAME)`, that Kubernetes did not replace or replaced by nothing
//! (<https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/>).

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

/// A hint for a message about this text, if there is a `$(NAME)` in it: why it is still there.
pub(super) fn unexpanded(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("$(")?;
    let name = match rest.split_once(')') {
        Some((name, _)) if is_variable(name) => name,
        _ => "NAME",
    };
    Some(format!(
        "Kubernetes leaves $({name}) alone when {name} is not defined in the same container's \
         env (above it, where env itself uses it)"
    ))
}

/// The message about this text, with that hint where it applies.
pub(super) fn hinted(message: String, text: &str) -> String {
    match unexpanded(text) {
        Some(hint) => format!("{message}; {hint}"),
        None => message,
    }
}

/// Whether Kubernetes accepts this as the name of a variable.
fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// The first variable that should hold an address, to judge by its name, and is empty. It is the
/// likely reason why `$(POD_IP):9808` became `:9808`.
#[must_use]
pub fn empty_address_variable(environment: &[(OsString, OsString)]) -> Option<String> {
    environment
        .iter()
        .filter(|(_, value)| value.is_empty())
        .map(|(name, _)| name)
        .find(|name| {
            let name = name.as_bytes().to_ascii_uppercase();
            ["IP", "ADDR", "HOST"]
                .iter()
                .any(|end| name.ends_with(end.as_bytes()))
        })
        .map(|name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_that_was_not_replaced_is_named() {
        for (text, name) in [
            ("$(POD_IP):9808", "POD_IP"),
            ("[$(POD.IP-6)]:9808", "POD.IP-6"),
            ("/csi/$(A)/$(B)", "A"),
            ("$(POD_IP:9808", "NAME"),
            ("$()", "NAME"),
            ("$(a b)", "NAME"),
        ] {
            let hint = unexpanded(text).unwrap();
            assert!(
                hint.contains(&format!(
                    "leaves $({name}) alone when {name} is not defined"
                )),
                "{text}: {hint}"
            );
        }
        for text in ["", "$", "$POD_IP", "${POD_IP}", "(POD_IP)"] {
            assert_eq!(unexpanded(text), None, "{text}");
        }
    }

    #[test]
    fn an_empty_address_is_found_by_its_variable_s_name() {
        let found = |variables: &[(&str, &str)]| {
            let variables: Vec<(OsString, OsString)> = variables
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect();
            empty_address_variable(&variables)
        };
        for name in ["POD_IP", "HOST_IP", "podIP", "BIND_ADDR", "NODE_HOST", "IP"] {
            assert_eq!(
                found(&[("HOME", ""), (name, "")]).as_deref(),
                Some(name),
                "{name}"
            );
            assert_eq!(found(&[(name, "10.0.0.1")]), None, "{name}");
        }
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("NODE_NAME", ""), ("POD_IPS", "")]), None);
    }
}
