//! Keeps one task per policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use futures::StreamExt;
use kube::ResourceExt;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::task::{Task, requested_at};
use crate::api::upgrade_policy::UpgradePolicy;
use crate::shared::Shared;

/// Follows the policies until `stop`. Fails only if a task dies.
pub(crate) async fn watch(shared: Arc<Shared>, stop: CancellationToken) -> anyhow::Result<()> {
    let api: Api<DeserializeGuard<UpgradePolicy>> =
        Api::namespaced(shared.cluster.client(), &shared.namespace);
    let stream = watcher(api, watcher::Config::default().page_size(50)).default_backoff();
    let mut stream = std::pin::pin!(stream);
    let mut controller = Controller {
        shared,
        stop: stop.clone(),
        known: BTreeMap::new(),
        tasks: JoinSet::new(),
    };
    let mut listed: Vec<String> = Vec::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = controller.tasks.join_next() => {
                ended.context("the task of an UpgradePolicy has died; this is a bug")?;
            }
            event = stream.next() => match event {
                Some(Ok(watcher::Event::Init)) => listed.clear(),
                Some(Ok(watcher::Event::InitApply(policy))) => listed.push(controller.saw(policy)),
                Some(Ok(watcher::Event::InitDone)) => {
                    controller.known.retain(|name, _| listed.contains(name));
                }
                Some(Ok(watcher::Event::Apply(policy))) => drop(controller.saw(policy)),
                Some(Ok(watcher::Event::Delete(policy))) => {
                    controller.known.remove(&policy.name_any());
                }
                Some(Err(error)) => {
                    let error = crate::problem::chain(&error);
                    tracing::warn!(%error, "cannot watch the UpgradePolicies; hint: are the CRDs of the agent installed?");
                }
                None => bail!("the watch of the UpgradePolicies has ended"),
            },
        }
    }
    controller.known.clear();
    while controller.tasks.join_next().await.is_some() {}
    Ok(())
}

struct Controller {
    shared: Arc<Shared>,
    stop: CancellationToken,
    known: BTreeMap<String, Known>,
    tasks: JoinSet<()>,
}

struct Known {
    policy: watch::Sender<Arc<UpgradePolicy>>,
    /// Ends the task when this is dropped.
    _ends: tokio_util::sync::DropGuard,
}

impl Controller {
    /// Starts the task of a new policy, or tells the one of a known policy what changed.
    fn saw(&mut self, policy: DeserializeGuard<UpgradePolicy>) -> String {
        let name = policy.name_any();
        let policy = match policy.0 {
            Ok(policy) => Arc::new(policy),
            Err(invalid) => {
                tracing::warn!(policy = %name, error = %invalid.error, "this UpgradePolicy cannot be read; hint: correct its spec");
                return name;
            }
        };
        if self
            .known
            .get(&name)
            .is_some_and(|known| known.policy.borrow().uid() != policy.uid())
        {
            self.known.remove(&name);
        }
        if let Some(known) = self.known.get(&name) {
            // A status that this program wrote is no news.
            known.policy.send_if_modified(|old| {
                let changed = old.metadata.generation != policy.metadata.generation
                    || requested_at(old) != requested_at(&policy);
                if changed {
                    *old = Arc::clone(&policy);
                }
                changed
            });
            return name;
        }
        let (sender, receiver) = watch::channel(policy);
        let stop = self.stop.child_token();
        let task = Task::new(Arc::clone(&self.shared), receiver, stop.clone());
        self.tasks.spawn_local(task.run());
        let known = Known {
            policy: sender,
            _ends: stop.drop_guard(),
        };
        self.known.insert(name.clone(), known);
        name
    }
}
