//! From objects to a plan: reads the inventory, watches the kinds, looks at what is there.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use plan::live::Live;
use plan::object::{Desired, ObjectId, Ssa};
use plan::plan::{Input, Plan, plan};

use super::Reconciler;
use super::sync_step::Failure;
use crate::problem::Problem;
use crate::render::Rendered;
use crate::report::Reason;
use crate::settings::Settings;
use crate::sighting::live_meta;

impl Reconciler {
    pub(super) async fn plan(
        &mut self,
        settings: &Settings,
        rendered: &Rendered,
    ) -> Result<Plan, Failure> {
        if self.memory.stored.is_none() {
            let stored = self
                .store
                .load()
                .await
                .map_err(|problem| Failure::server(&problem))?;
            self.memory.stored = Some(stored);
        }
        self.watch_new_kinds(rendered).await?;
        let stored = self.memory.stored.clone().unwrap_or_default();
        let live = self.observe(rendered, &stored.contents).await;
        let input = Input {
            owner: &settings.owner,
            desired: &rendered.desired,
            inventory: &stored.contents,
            live: &live,
            applied: &self.memory.applied,
            policy: &settings.policy,
        };
        plan(&input).map_err(|error| Failure::new(Reason::ReconciliationFailed, &error))
    }

    /// Watches every kind that is wanted or owned and that the server serves already.
    pub(super) async fn watch_new_kinds(&self, rendered: &Rendered) -> Result<(), Failure> {
        let served = self.shared.cluster.kinds().table();
        let wanted = rendered.desired.iter().map(|object| {
            let id = object.id();
            (
                id.group.clone(),
                object.version().to_owned(),
                id.kind.clone(),
            )
        });
        let stored = self
            .memory
            .stored
            .iter()
            .flat_map(|stored| &stored.contents.entries);
        let owned =
            stored.map(|(id, entry)| (id.group.clone(), entry.version.clone(), id.kind.clone()));
        let kinds: BTreeSet<_> = wanted
            .chain(owned)
            .filter(|kind| served.contains_key(kind))
            .collect();
        // Claimed first, so that no other Sync's end stops a watch that is needed here.
        self.claim_also(rendered);
        let watching = self.shared.watches.ensure(&kinds).await;
        watching.map_err(|error| Failure::new(Reason::ReconciliationFailed, &error))
    }

    fn claim_also(&self, rendered: &Rendered) {
        let new = rendered.desired.iter().map(|object| object.id().clone());
        let old = self.memory.desired.iter().map(|object| object.id().clone());
        let stored = self.memory.stored.iter();
        let owned = stored.flat_map(|stored| stored.contents.entries.keys().cloned());
        self.shared
            .watches
            .claim(&self.mailbox, new.chain(old).chain(owned));
    }

    /// What is known about every object that matters. The watches see only what carries a Sync's
    /// label; where that decides about a deletion or a first creation, the server is asked.
    async fn observe(
        &self,
        rendered: &Rendered,
        inventory: &plan::inventory::Inventory,
    ) -> BTreeMap<ObjectId, Live> {
        let wanted: BTreeMap<&ObjectId, &Desired> = rendered
            .desired
            .iter()
            .map(|object| (object.id(), object))
            .collect();
        let ids = wanted.keys().copied().chain(inventory.entries.keys());
        let mut live = self.shared.watches.snapshot(ids);
        let ask: Vec<(ObjectId, String)> = live
            .iter()
            .filter(|(_, live)| **live == Live::Absent)
            .filter_map(
                |(id, _)| match (wanted.get(id), inventory.entries.get(id)) {
                    (Some(object), _) => {
                        let careful =
                            matches!(object.policy().ssa, Ssa::IfNotPresent | Ssa::Ignore);
                        careful.then(|| (id.clone(), object.version().to_owned()))
                    }
                    (None, Some(entry)) => Some((id.clone(), entry.version.clone())),
                    (None, None) => None,
                },
            )
            .collect();
        let cluster = &self.shared.cluster;
        let answers: Vec<(ObjectId, Result<_, Problem>)> = stream::iter(ask)
            .map(|(id, version)| async move {
                let answer = cluster.metadata(&id, &version).await;
                (id, answer)
            })
            .buffer_unordered(cluster.patience().at_once())
            .collect()
            .await;
        for (id, answer) in answers {
            match answer {
                Ok(Some(metadata)) => {
                    live.insert(id, Live::Present(live_meta(metadata)));
                }
                Ok(None) => {}
                // Not looked at: the plan then neither writes nor forgets it.
                Err(_) => drop(live.remove(&id)),
            }
        }
        live
    }
}
