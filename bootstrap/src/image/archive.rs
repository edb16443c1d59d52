//! An OCI archive: several images in one tar, equal blobs stored once.
//!
//! Format: <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use fs_err as fs;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tar::Builder;

use super::layer::{Layer, Owner, header};
use crate::digest::hex;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What containerd names an image it imports.
const NAME: &str = "io.containerd.image.name";
/// What other tools take for the tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// How a container of the image runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// `uid:gid`; empty is root.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `NAME=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program and its fixed arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Arguments that a pod may replace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Where it starts; empty is `/`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
}

/// A layer that is in the archive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blob {
    digest: String,
    size: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: &'static str,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Platform>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Platform {
    architecture: &'static str,
    os: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageManifest {
    schema_version: u8,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Serialize)]
struct ImageConfig<'a> {
    architecture: &'static str,
    os: &'static str,
    config: &'a Config,
    rootfs: RootFs,
}

#[derive(Serialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

/// Writes images one after the other.
pub struct ArchiveWriter<W: Write> {
    tar: Builder<W>,
    stored: BTreeSet<String>,
    images: Vec<Descriptor>,
}

impl<W: Write> fmt::Debug for ArchiveWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveWriter")
            .field("stored", &self.stored)
            .finish_non_exhaustive()
    }
}

impl<W: Write> ArchiveWriter<W> {
    /// An archive without images.
    pub fn new(out: W) -> Self {
        Self {
            tar: Builder::new(out),
            stored: BTreeSet::new(),
            images: Vec::new(),
        }
    }

    /// Stores a layer; `scratch` is a directory for a temporary copy of it.
    ///
    /// # Errors
    /// When a file of the layer cannot be read, or the archive or the copy cannot be written.
    pub fn layer(&mut self, layer: &Layer, scratch: &Path) -> io::Result<Blob> {
        let mut copy = tempfile::tempfile_in(scratch)?;
        layer.write(io::BufWriter::new(&copy))?;
        copy.rewind()?;
        self.copy_layer(copy)
    }

    /// Stores a layer that is a tar file already.
    ///
    /// # Errors
    /// When it cannot be read or the archive cannot be written.
    pub fn layer_file(&mut self, tar: &Path) -> io::Result<Blob> {
        self.copy_layer(fs::File::open(tar)?)
    }

    fn copy_layer(&mut self, mut file: impl Read + Seek) -> io::Result<Blob> {
        let mut hasher = Sha256::new();
        let size = io::copy(&mut file, &mut HashWriter(&mut hasher))?;
        let digest = hex(&hasher.finalize());
        if self.stored.insert(digest.clone()) {
            file.rewind()?;
            self.put(&format!("blobs/sha256/{digest}"), size, file.take(size))?;
        }
        Ok(Blob { digest, size })
    }

    /// Adds an image of layers that are stored already and returns the digest of its manifest.
    ///
    /// # Errors
    /// When the archive cannot be written.
    pub fn image(
        &mut self,
        reference: &str,
        config: &Config,
        layers: &[Blob],
    ) -> io::Result<String> {
        let digest = |hex: &str| format!("sha256:{hex}");
        let architecture = super::architecture();
        let config = self.json(&ImageConfig {
            architecture,
            os: "linux",
            config,
            rootfs: RootFs {
                kind: "layers",
                // Uncompressed: the layer's digest is its diff id.
                diff_ids: layers.iter().map(|layer| digest(&layer.digest)).collect(),
            },
        })?;
        let describe = |media_type, blob: &Blob| Descriptor {
            media_type,
            digest: digest(&blob.digest),
            size: blob.size,
            platform: None,
            annotations: BTreeMap::new(),
        };
        let manifest = self.json(&ImageManifest {
            schema_version: 2,
            media_type: MANIFEST,
            config: describe(CONFIG, &config),
            layers: layers.iter().map(|layer| describe(LAYER, layer)).collect(),
        })?;
        let tag = reference.rsplit_once(':').map_or(reference, |(_, tag)| tag);
        self.images.push(Descriptor {
            platform: Some(Platform {
                architecture,
                os: "linux",
            }),
            annotations: [(NAME, reference.to_owned()), (REF_NAME, tag.to_owned())].into(),
            ..describe(MANIFEST, &manifest)
        });
        Ok(digest(&manifest.digest))
    }

    /// Writes the index and ends the archive.
    ///
    /// # Errors
    /// When the archive cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        let manifests = std::mem::take(&mut self.images);
        let index = Index {
            schema_version: 2,
            media_type: INDEX,
            manifests,
        };
        let index = serde_json::to_vec(&index)?;
        self.put("index.json", index.len() as u64, index.as_slice())?;
        let layout = br#"{"imageLayoutVersion":"1.0.0"}"#;
        self.put("oci-layout", layout.len() as u64, layout.as_slice())?;
        self.tar.into_inner()
    }

    fn json(&mut self, value: &impl Serialize) -> io::Result<Blob> {
        let bytes = serde_json::to_vec(value)?;
        self.copy_layer(io::Cursor::new(bytes))
    }

    fn put(&mut self, path: &str, size: u64, content: impl Read) -> io::Result<()> {
        let mut header = header(0o644, Owner::default());
        header.set_size(size);
        self.tar.append_data(&mut header, path, content)
    }
}

/// Feeds what is written into a hash.
struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let scratch = tempfile::tempdir().unwrap();
        let mut writer = ArchiveWriter::new(Vec::new());
        let program = Layer::new().bytes("/bin/program", "elf", 0o755);
        let shared = writer.layer(&program, scratch.path()).unwrap();
        for (reference, user) in [("example.org/a:1", "1:1"), ("example.org/b:2", "")] {
            // The second time it is found, not stored again.
            assert_eq!(writer.layer(&program, scratch.path()).unwrap(), shared);
            let config = Config {
                user: user.to_owned(),
                entrypoint: vec!["/bin/program".to_owned()],
                ..Config::default()
            };
            writer
                .image(reference, &config, std::slice::from_ref(&shared))
                .unwrap();
        }
        writer.finish().unwrap()
    }

    fn files(archive: &[u8]) -> BTreeMap<String, String> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = Vec::new();
            entry.read_to_end(&mut text).unwrap();
            let path = entry.path().unwrap().display().to_string();
            (path, String::from_utf8_lossy(&text).into_owned())
        });
        entries.collect()
    }

    #[test]
    fn same_input_same_bytes() {
        assert_eq!(archive(), archive());
    }

    #[test]
    fn every_blob_is_named_by_its_hash_and_stored_once() {
        let bytes = archive();
        let files = files(&bytes);
        let blobs: Vec<_> = files
            .iter()
            .filter(|(path, _)| path.starts_with("blobs/"))
            .collect();
        // One layer, two configs, two manifests.
        assert_eq!(blobs.len(), 5);
        assert_eq!(
            tar::Archive::new(bytes.as_slice())
                .entries()
                .unwrap()
                .count(),
            7
        );
        for (path, content) in blobs {
            if !content.contains('\0') {
                let digest = hex(&Sha256::digest(content.as_bytes()));
                assert_eq!(path, &format!("blobs/sha256/{digest}"));
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn index_is_what_importers_read() {
        let index: serde_json::Value =
            serde_json::from_str(&files(&archive())["index.json"]).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&index).unwrap());
    }
}
