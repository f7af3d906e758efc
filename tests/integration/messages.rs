//! The messages in crates/csi/src/messages/, which protobuf-codegen generates from proto/ and
//! `make messages` writes.

use std::path::Path;

use protobuf_codegen::{Codegen, Customize};
use testkit::Dir;

#[test]
fn the_messages_are_those_that_are_generated() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let generated = Dir::new();
    Codegen::new()
        .pure()
        .customize(Customize::default().lite_runtime(true))
        .include(root.join("proto"))
        .inputs(
            ["csi_identity", "grpc_health"].map(|name| root.join(format!("proto/{name}.proto"))),
        )
        .out_dir(generated.path())
        .run()
        .expect("messages");
    for name in ["csi_identity.rs", "grpc_health.rs"] {
        let kept = root.join("crates/csi/src/messages").join(name);
        let wanted = std::fs::read_to_string(generated.path().join(name)).unwrap();
        if std::env::var_os("UPDATE_MESSAGES").is_some() {
            std::fs::write(&kept, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(&kept).unwrap_or_default();
        assert!(
            found == wanted,
            "{} is out of date; run make messages",
            kept.display()
        );
    }
}
