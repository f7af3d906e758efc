//! The flags that say where the driver listens.

use program::duration;
use program::flags::{Flag, one_of};

use crate::CsiAddress;

/// The values of these flags.
#[derive(Debug, Default)]
pub struct Addresses {
    /// `--csi-address`.
    pub csi_address: Option<CsiAddress>,
    /// `--endpoint`.
    pub endpoint: Option<CsiAddress>,
}

impl Addresses {
    /// The address that was given by either name.
    ///
    /// # Errors
    ///
    /// Names both where they were given different values.
    pub fn given(self) -> Result<Option<CsiAddress>, String> {
        one_of(
            ("--csi-address", self.csi_address),
            ("--endpoint", self.endpoint),
            CsiAddress::to_string,
        )
    }
}

/// The address where there is neither flag nor variable.
#[must_use]
pub fn default_address() -> CsiAddress {
    CsiAddress::Path(DEFAULT.into())
}

const DEFAULT: &str = "/run/csi/socket";

/// The raw values of a program that has these flags.
pub trait AddressFlags: Sized + 'static {
    /// Where the values go.
    fn addresses(&mut self) -> &mut Addresses;

    /// `--csi-address`.
    const CSI_ADDRESS: Flag<Self> = Flag::new(
        "--csi-address",
        "ADDRESS",
        "Address of the CSI driver: /path, unix:///path, unix:relative/path, \
         unix-abstract:name, tcp://host:port, host:port or dns:///host:port.",
        |raw: &mut Self, given| given.put(&mut raw.addresses().csi_address, CsiAddress::parse),
    )
    .or_default(DEFAULT);

    /// `--endpoint`, the same by another name.
    const ENDPOINT: Flag<Self> = Flag::new(
        "--endpoint",
        "ADDRESS",
        "Alias of --csi-address.",
        |raw: &mut Self, given| given.put(&mut raw.addresses().endpoint, CsiAddress::parse),
    );

    /// `--connection-timeout`, which upstream's sidecars had once.
    const CONNECTION_TIMEOUT: Flag<Self> =
        Flag::without_effect("--connection-timeout", "DURATION", |text| {
            duration::parse(text).map(drop)
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(
        csi_address: Option<&str>,
        endpoint: Option<&str>,
    ) -> Result<Option<CsiAddress>, String> {
        let path = |text: &str| CsiAddress::Path(text.into());
        let addresses = Addresses {
            csi_address: csi_address.map(path),
            endpoint: endpoint.map(path),
        };
        addresses.given()
    }

    #[test]
    fn an_address_has_two_names() {
        let address = Ok(Some(CsiAddress::Path("/a".into())));
        assert_eq!(given(None, None), Ok(None));
        assert_eq!(given(Some("/a"), None), address);
        assert_eq!(given(None, Some("/a")), address);
        assert_eq!(given(Some("/a"), Some("/a")), address);
        let message = given(Some("/a"), Some("/b")).unwrap_err();
        assert!(
            message.contains("--csi-address=/a and --endpoint=/b"),
            "{message}"
        );
    }

    #[test]
    fn the_default_is_an_address() {
        assert_eq!(CsiAddress::parse(DEFAULT), Ok(default_address()));
    }
}
