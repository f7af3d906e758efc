//! A driver's reply: any bytes are a message or an error, and a message that is encoded and
//! decoded again is the same.

use csi::grpc_health::HealthCheckResponse;
use csi::identity::{GetPluginInfoResponse, ProbeResponse};
use protobuf::Message;

/// Takes any bytes.
pub fn check(bytes: &[u8]) {
    is_read::<ProbeResponse>(bytes);
    is_read::<GetPluginInfoResponse>(bytes);
    is_read::<HealthCheckResponse>(bytes);
}

fn is_read<Reply: Message + PartialEq>(bytes: &[u8]) {
    if let Ok(reply) = Reply::parse_from_bytes(bytes) {
        let written = reply.write_to_bytes().expect("a message");
        assert!(Reply::parse_from_bytes(&written).is_ok_and(|again| again == reply));
    }
}
