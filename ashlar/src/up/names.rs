//! What the server's certificate is for: every name by which a client may reach it.

use crate::error::Error;
use crate::limits::MAX_CERTIFICATE_ADDRESSES;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Where Linux shows what `uname -n` does.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// What the names follow from.
#[derive(Debug)]
pub struct Names {
    /// Where HTTPS listens. Unspecified, it is reached by every address of this machine and by its host name.
    pub listen: IpAddr,
    /// Domains below which a host names a bucket.
    pub domains: Vec<String>,
}

impl Names {
    /// As this machine is now.
    ///
    /// Errors: its addresses or its name can't be read.
    pub fn now(&self) -> Result<BTreeSet<String>, Error> {
        if !self.listen.is_unspecified() {
            return Ok(self.with(&Machine { host: String::new(), addresses: Vec::new() }));
        }
        Ok(self.with(&Machine::read()?))
    }

    fn with(&self, machine: &Machine) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        for domain in &self.domains {
            names.extend([domain.clone(), format!("*.{domain}")]);
        }
        if !self.listen.is_unspecified() {
            names.insert(self.listen.to_string());
            return names;
        }
        if is_dns_name(&machine.host) {
            names.insert(machine.host.clone());
        }
        let mut addresses: Vec<IpAddr> =
            machine.addresses.iter().copied().filter(|address| self.listens_on(*address)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.len() > MAX_CERTIFICATE_ADDRESSES {
            tracing::warn!(
                addresses = addresses.len(),
                "this machine has too many addresses for one certificate; clients must use one of the first \
                 {MAX_CERTIFICATE_ADDRESSES}, or a name given with --s3-domain"
            );
            addresses.truncate(MAX_CERTIFICATE_ADDRESSES);
        }
        names.extend(addresses.iter().map(IpAddr::to_string));
        names
    }

    /// Linux takes IPv4 on `[::]` too. A link-local address means nothing without its interface, which no URL of an
    /// S3 client can name.
    fn listens_on(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => !address.is_link_local(),
            IpAddr::V6(address) => self.listen.is_ipv6() && !address.is_unicast_link_local(),
        }
    }
}

/// This machine, as others name it.
struct Machine {
    host: String,
    addresses: Vec<IpAddr>,
}

impl Machine {
    fn read() -> Result<Self, Error> {
        let unknown = |what: &str, error: std::io::Error| {
            Error::failed(format!(
                "this machine's {what} can't be read, which the certificate of --tls is for: {error}; \
                 listen on one address with --tls-listen"
            ))
        };
        let addresses = if_addrs::get_if_addrs().map_err(|error| unknown("addresses", error))?;
        let host = std::fs::read_to_string(HOST_NAME).map_err(|error| unknown("host name", error))?;
        let host = host.trim().to_ascii_lowercase();
        Ok(Self { host, addresses: addresses.iter().map(if_addrs::Interface::ip).collect() })
    }
}

/// What a certificate may hold as a DNS name (RFC 5280 4.2.1.6). Host names of machines need not be one.
fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(listen: &str, host: &str, addresses: &[&str]) -> Vec<String> {
        let names = Names { listen: listen.parse().unwrap(), domains: vec!["s3.test".to_owned()] };
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let usual = ["localhost", "127.0.0.1", "::1", "s3.test", "*.s3.test"];
        let mut found = names.with(&Machine { host: host.to_owned(), addresses });
        for name in usual {
            assert!(found.remove(name), "{name}");
        }
        found.into_iter().collect()
    }

    #[test]
    fn a_listener_on_every_address_is_named_by_all_of_them() {
        let all = ["127.0.0.1", "10.1.2.3", "192.168.7.8", "169.254.1.1", "2001:db8::7", "fe80::1"];
        assert_eq!(names("0.0.0.0", "vm-1", &all), ["10.1.2.3", "192.168.7.8", "vm-1"]);
        assert_eq!(
            names("::", "vm.example.com", &all),
            ["10.1.2.3", "192.168.7.8", "2001:db8::7", "vm.example.com"]
        );
        assert_eq!(names("10.1.2.3", "vm-1", &all), ["10.1.2.3"]);
        // What is no DNS name would make a certificate that clients refuse as a whole.
        for host in ["", "my_vm", "-vm", "vm.", "a b", "\u{e4}"] {
            assert_eq!(names("0.0.0.0", host, &["10.1.2.3"]), ["10.1.2.3"], "{host}");
        }
        let many: Vec<String> = (0..=255).map(|last| format!("10.0.0.{last}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(names("0.0.0.0", "", &many).len(), MAX_CERTIFICATE_ADDRESSES);
    }

    #[test]
    fn this_machine_can_be_read() {
        let machine = Machine::read().unwrap();
        assert!(machine.addresses.iter().any(IpAddr::is_loopback), "{:?}", machine.addresses);
        assert!(!machine.host.is_empty());
    }
}
