//! The fields of a lease that an election reads and writes.

use serde::{Deserialize, Deserializer, Serialize};

/// The `spec` of a `coordination.k8s.io/v1` Lease. Every field is optional there; an absent one and
/// `null` are read as empty or zero.
///
/// The caller writes these fields into the object that it has read, so that labels and fields
/// of newer versions (`strategy`, `preferredHolder`) stay: RBAC grants `update` on leases and no
/// `patch`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseRecord {
    /// The identity of the leader, and empty after a release.
    #[serde(deserialize_with = "null_as_default")]
    pub holder_identity: String,
    /// How long the record has to stand still before another candidate may take the lease.
    #[serde(deserialize_with = "null_as_default")]
    pub lease_duration_seconds: u32,
    /// When this holder took the lease: a `MicroTime`, which is compared for equality alone.
    #[serde(deserialize_with = "null_as_default")]
    pub acquire_time: String,
    /// When the holder renewed it: the same.
    #[serde(deserialize_with = "null_as_default")]
    pub renew_time: String,
    /// How often the holder has changed.
    #[serde(deserialize_with = "null_as_default")]
    pub lease_transitions: u32,
}

fn null_as_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_with_null_absent_and_unknown_fields() {
        let text = r#"{"holderIdentity":"a","leaseDurationSeconds":15,"leaseTransitions":null,
            "renewTime":"2026-11-20T09:12:12.172000Z","strategy":"OldestEmulationVersion"}"#;
        let record: LeaseRecord = serde_json::from_str(text).unwrap();
        let expected = LeaseRecord {
            holder_identity: "a".to_owned(),
            lease_duration_seconds: 15,
            renew_time: "2026-11-20T09:12:12.172000Z".to_owned(),
            ..LeaseRecord::default()
        };
        assert_eq!(record, expected);
    }

    #[test]
    fn a_record_is_written_with_the_names_of_the_api() {
        let value = serde_json::to_value(LeaseRecord::default()).unwrap();
        let expected = serde_json::json!({
            "holderIdentity": "", "leaseDurationSeconds": 0, "acquireTime": "", "renewTime": "",
            "leaseTransitions": 0,
        });
        assert_eq!(value, expected);
    }
}
