//! How fast a change arrives: pushed commits and foreign edits, timed by a watch on the object.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tests::cluster::Cluster;
use tests::working_copy::WorkingCopy;

/// No change takes this long; one that does is a failure, not a slow result.
const LIMIT: Duration = Duration::from_secs(90);

const SYNC: &str = "apiVersion: immuops.dev/v1alpha1
kind: Sync
metadata:
  name: bench
spec:
  sourceRef:
    name: cluster
  path: ./bench
  interval: 10m
  timeout: 1m
  prune: true
  wait: true
";
const KUSTOMIZATION: &str = "namespace: bench\nresources:\n  - namespace.yaml\n  - settings.yaml\n";
const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: bench\n";
const CLUSTER: &str = "clusters/built-in-git/kustomization.yaml";

/// One `ConfigMap` that a Sync owns.
pub(crate) struct Demo {
    copy: WorkingCopy,
    client: Client,
}

impl Demo {
    /// Adds the Sync to the cluster repository and waits until its object exists.
    pub(crate) async fn push(cluster: &Cluster) -> Result<Self> {
        let copy = WorkingCopy::of_built_in_forge(cluster)?;
        copy.write("clusters/built-in-git/bench.yaml", SYNC)?;
        copy.replace(CLUSTER, "  - git.yaml\n", "  - git.yaml\n  - bench.yaml\n")?;
        copy.write("bench/kustomization.yaml", KUSTOMIZATION)?;
        copy.write("bench/namespace.yaml", NAMESPACE)?;
        copy.write("bench/settings.yaml", &settings("start"))?;
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()?)?;
        let config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let demo = Self {
            copy,
            client: Client::try_from(config)?,
        };
        demo.copy.push("bench: one ConfigMap")?;
        let start = Instant::now();
        while demo.value().await?.as_deref() != Some("start") {
            if start.elapsed() > LIMIT {
                bail!("the ConfigMap bench/settings did not appear");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(demo)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// From the start of `git push` until a watch shows the new value, `count` times.
    pub(crate) async fn pushes(&self, count: u32) -> Result<Vec<Duration>> {
        let mut durations = Vec::new();
        for n in 0..count {
            let value = format!("push-{n}");
            self.copy.write("bench/settings.yaml", &settings(&value))?;
            self.copy.commit(&format!("bench: {value}"))?;
            let watch = self.watch().await?;
            let start = Instant::now();
            self.copy.git(&["push", "--quiet", "origin", "HEAD:main"])?;
            seen(watch, &value).await?;
            durations.push(start.elapsed());
        }
        Ok(durations)
    }

    /// From the answer to a foreign edit until a watch shows the old value again, `count` times.
    pub(crate) async fn foreign_edits(&self, count: u32) -> Result<Vec<Duration>> {
        let wanted = self
            .value()
            .await?
            .context("the ConfigMap bench/settings is gone")?;
        let mut durations = Vec::new();
        for n in 0..count {
            let watch = self.watch().await?;
            let patch = serde_json::json!({ "data": { "value": format!("foreign-{n}") } });
            let start = Instant::now();
            self.api()
                .patch("settings", &PatchParams::default(), &Patch::Merge(patch))
                .await?;
            seen(watch, &wanted).await?;
            durations.push(start.elapsed());
            // Edits come apart, as people make them: the agent backs off from a fight.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(durations)
    }

    fn api(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), "bench")
    }

    async fn value(&self) -> Result<Option<String>> {
        let map = self.api().get_opt("settings").await?;
        Ok(map.and_then(|map| map.data?.remove("value")))
    }

    /// Changes of the `ConfigMap` from now on.
    async fn watch(&self) -> Result<impl Stream<Item = Result<WatchEvent<ConfigMap>>> + use<>> {
        let now = self.api().get("settings").await?.metadata.resource_version;
        let now = now.context("the ConfigMap has no resourceVersion")?;
        let only = WatchParams::default().fields("metadata.name=settings");
        let events = self.api().watch(&only, &now).await?;
        Ok(events.map_err(anyhow::Error::from).boxed())
    }
}

/// Waits for the first event with `value`.
async fn seen(
    mut watch: impl Stream<Item = Result<WatchEvent<ConfigMap>>> + Unpin,
    value: &str,
) -> Result<()> {
    let search = async {
        while let Some(event) = watch.next().await {
            if let WatchEvent::Modified(map) | WatchEvent::Added(map) = event?
                && map
                    .data
                    .is_some_and(|data| data.get("value").is_some_and(|v| v == value))
            {
                return Ok(());
            }
        }
        bail!("the watch ended before the value `{value}`")
    };
    tokio::time::timeout(LIMIT, search)
        .await
        .with_context(|| format!("`{value}` never came"))?
}

fn settings(value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  value: {value}\n"
    )
}
