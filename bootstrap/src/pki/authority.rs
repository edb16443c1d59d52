//! A certificate authority with its key in memory: the only code that signs.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyPair, KeyUsagePurpose, NameConstraints, SanType, SerialNumber,
};
use time::OffsetDateTime;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::X509Certificate;

use super::Pair;
use super::plan::{Issuer, Request, Usage};
use super::renewal::{Held, Policy};
use crate::edge::Domain;

/// An authority that can sign.
pub(super) struct Authority {
    issuer: rcgen::Issuer<'static, KeyPair>,
    /// The identifier that certificates of this authority carry.
    key_identifier: Vec<u8>,
}

impl Authority {
    /// Makes the certificate and key of a new authority. With a domain it can sign names below
    /// that domain only, so that whoever trusts it does not trust it with other sites.
    pub(super) fn create(
        issuer: Issuer,
        domain: Option<&Domain>,
        now: OffsetDateTime,
        policy: Policy,
    ) -> anyhow::Result<Pair> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, issuer.common_name());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = domain.map(|domain| NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(domain.to_string())],
            excluded_subtrees: Vec::new(),
        });
        params.not_before = now - policy.backdate;
        params.not_after = now + policy.authority;
        params.serial_number = Some(serial()?);
        let certificate = params.self_signed(&key)?;
        Ok(Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Reads an authority back.
    pub(super) fn read(pair: &Pair) -> anyhow::Result<Self> {
        let key = KeyPair::from_pem(&pair.key)?;
        let issuer = rcgen::Issuer::from_ca_cert_pem(&pair.certificate, key)?;
        let (_, pem) = parse_x509_pem(pair.certificate.as_bytes())?;
        let certificate = pem.parse_x509()?;
        let key_identifier = extension(&certificate, |extension| {
            if let ParsedExtension::SubjectKeyIdentifier(id) = extension {
                return Some(id.0.to_vec());
            }
            None
        })
        .context("it has no key identifier")?;
        Ok(Self {
            issuer,
            key_identifier,
        })
    }

    /// Signs a new key for `request`.
    pub(super) fn issue(
        &self,
        request: &Request,
        now: OffsetDateTime,
        policy: Policy,
    ) -> anyhow::Result<Pair> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, &request.common_name);
        if let Some(organization) = request.organization {
            params
                .distinguished_name
                .push(DnType::OrganizationName, organization);
        }
        let names = request
            .names
            .iter()
            .map(|name| Ok(SanType::DnsName(name.as_str().try_into()?)));
        let addresses = request
            .addresses
            .iter()
            .map(|address| Ok(SanType::IpAddress(*address)));
        params.subject_alt_names = names.chain(addresses).collect::<anyhow::Result<_>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match request.usage {
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Both => {
                vec![
                    ExtendedKeyUsagePurpose::ServerAuth,
                    ExtendedKeyUsagePurpose::ClientAuth,
                ]
            }
        };
        params.use_authority_key_identifier_extension = true;
        params.not_before = now - policy.backdate;
        params.not_after = now + policy.leaf;
        params.serial_number = Some(serial()?);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Reads what decides about the renewal of a certificate.
    pub(super) fn examine(&self, certificate: &str) -> anyhow::Result<Held> {
        let (_, pem) = parse_x509_pem(certificate.as_bytes())?;
        let certificate = pem.parse_x509()?;
        let authority = extension(&certificate, |extension| {
            if let ParsedExtension::AuthorityKeyIdentifier(id) = extension {
                return id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            None
        });
        let mut names = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        if let Some(alternatives) = certificate.subject_alternative_name()? {
            for name in &alternatives.value.general_names {
                if let GeneralName::DNSName(name) = name {
                    names.insert((*name).to_owned());
                } else if let GeneralName::IPAddress(bytes) = name {
                    addresses.insert(address(bytes).context("an address has a wrong length")?);
                } else {
                    anyhow::bail!("it has a name that is neither DNS name nor address");
                }
            }
        }
        Ok(Held {
            not_after: certificate.validity().not_after.to_datetime(),
            by_this_authority: authority.as_ref() == Some(&self.key_identifier),
            names,
            addresses,
        })
    }
}

fn extension<T>(
    certificate: &X509Certificate<'_>,
    wanted: impl Fn(&ParsedExtension<'_>) -> Option<T>,
) -> Option<T> {
    certificate
        .extensions()
        .iter()
        .find_map(|extension| wanted(extension.parsed_extension()))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).into());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into()))
        .ok()
}

/// A random serial number: rcgen's default repeats when a key does. Positive and at most 20 bytes
/// (RFC 5280, 4.1.2.2).
fn serial() -> anyhow::Result<SerialNumber> {
    let mut bytes = crate::random::bytes::<16>()?;
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}
