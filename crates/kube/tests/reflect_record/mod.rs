//! A record for the tests of the reflector.

use kube::decode::{Interner, Meta, Trim};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub struct Object {
    metadata: Meta,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Record(pub Meta);

impl Trim for Record {
    type Object = Object;

    fn trim(object: Object, _: &Interner) -> Record {
        Record(object.metadata)
    }

    fn meta(&self) -> &Meta {
        &self.0
    }
}

pub fn record(key: u8, uid: u64, version: u64) -> Record {
    let uid = uid.to_string().into();
    Record(Meta::new("ns", &format!("k{key}"), uid, version))
}
