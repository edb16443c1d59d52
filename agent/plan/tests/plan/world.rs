//! A cluster small enough to be simulated: it keeps metadata, stamps writers and forgets nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use plan::check::check;
use plan::inventory::{Entry, Inventory};
use plan::live::{Applied, Live, LiveMeta, ManagerStamp, Operation, Uid};
use plan::object::{ContentHash, Desired, FIELD_MANAGER, ObjectId, Owner, Toggle};
use plan::plan::{Action, Input, Outcome, Plan, PlanError, Policy, PruneLimit, plan};
use serde_json::{Value, json};

pub(crate) fn owner() -> Owner {
    Owner::new("immuops-system", "shop").unwrap()
}

pub(crate) fn another() -> Owner {
    Owner::new("immuops-system", "another").unwrap()
}

pub(crate) fn policy() -> Policy {
    Policy {
        prune: Toggle::Enabled,
        limit: PruneLimit::Default,
        consent: Vec::new(),
    }
}

/// `Kind.group/version ns/name` with extra fields merged in.
pub(crate) fn object(api_version: &str, kind: &str, path: &str, fields: Value) -> Value {
    let (namespace, name) = match path.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, path),
    };
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    if let Some(namespace) = namespace {
        object["metadata"]["namespace"] = json!(namespace);
    }
    let Value::Object(fields) = fields else {
        panic!("fields are an object")
    };
    for (key, value) in fields {
        object[key] = value;
    }
    object
}

pub(crate) fn annotate(mut object: Value, annotations: &[(&str, &str)]) -> Value {
    for (key, value) in annotations {
        object["metadata"]["annotations"][format!("immuops.dev/{key}")] = json!(value);
    }
    object
}

pub(crate) fn desired(objects: impl IntoIterator<Item = Value>) -> Vec<Desired> {
    objects
        .into_iter()
        .map(|object| Desired::new(object, &owner()).unwrap())
        .collect()
}

/// One live object and what a reader of its content would see.
#[derive(Debug, Clone)]
pub(crate) struct Thing {
    pub(crate) meta: LiveMeta,
    pub(crate) content: Option<ContentHash>,
}

/// A cluster, and what the agent knows of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) things: BTreeMap<ObjectId, Thing>,
    pub(crate) inventory: Inventory,
    pub(crate) applied: BTreeMap<ObjectId, Applied>,
    clock: i64,
}

impl World {
    fn tick(&mut self) -> i64 {
        self.clock += 1;
        self.clock
    }

    /// What a look at every object tells.
    pub(crate) fn live(&self, desired: &[Desired]) -> BTreeMap<ObjectId, Live> {
        let ids = desired
            .iter()
            .map(Desired::id)
            .chain(self.inventory.entries.keys());
        ids.map(|id| {
            let live = self
                .things
                .get(id)
                .map(|thing| Live::Present(thing.meta.clone()));
            (id.clone(), live.unwrap_or(Live::Absent))
        })
        .collect()
    }

    /// Plans, and checks the plan.
    pub(crate) fn plan(&self, desired: &[Desired], policy: &Policy) -> Result<Plan, PlanError> {
        let (owner, live) = (owner(), self.live(desired));
        let input = Input {
            owner: &owner,
            desired,
            inventory: &self.inventory,
            live: &live,
            applied: &self.applied,
            policy,
        };
        let plan = plan(&input)?;
        assert_eq!(check(&plan, &input), Ok(()), "{plan:#?}");
        Ok(plan)
    }

    /// Carries out a plan, but is killed before the write number `writes`. A killed agent forgets what it applied.
    pub(crate) fn execute(&mut self, plan: &Plan, desired: &[Desired], writes: usize) {
        let mut left = writes;
        let mut go_on = || left.checked_sub(1).inspect(|rest| left = *rest).is_some();
        if !go_on() {
            return self.applied.clear();
        }
        self.inventory = plan.write_ahead.clone();
        let mut outcomes = BTreeMap::new();
        let by_id: BTreeMap<_, _> = desired.iter().map(|object| (object.id(), object)).collect();
        for action in plan.actions() {
            let (Action::Create(id) | Action::Change(id)) = action else {
                continue;
            };
            if !go_on() {
                return self.applied.clear();
            }
            let applied = self.apply(by_id[id]);
            outcomes.insert(id.clone(), Outcome::Applied(applied.clone()));
            self.applied.insert(id.clone(), applied);
        }
        for prune in &plan.prune {
            if !go_on() {
                return self.applied.clear();
            }
            let thing = self.things.get(&prune.id).map(|thing| &thing.meta.uid);
            assert_eq!(thing, Some(&prune.uid), "{:?}", prune.id);
            self.things.remove(&prune.id);
            self.applied.remove(&prune.id);
            outcomes.insert(prune.id.clone(), Outcome::Pruned);
        }
        if !go_on() {
            return self.applied.clear();
        }
        self.inventory = plan.finish(&outcomes);
    }

    /// Server-side apply: no write when nothing changes.
    pub(crate) fn apply(&mut self, desired: &Desired) -> Applied {
        let now = self.tick();
        let uid = Uid::from(format!("uid-{now}"));
        let thing = self
            .things
            .entry(desired.id().clone())
            .or_insert_with(|| Thing {
                meta: LiveMeta {
                    uid,
                    resource_version: String::new(),
                    generation: None,
                    labels: BTreeMap::new(),
                    annotations: BTreeMap::new(),
                    deletion_timestamp: None,
                    managers: Vec::new(),
                },
                content: None,
            });
        if thing.content != Some(desired.hash()) {
            thing.content = Some(desired.hash());
            thing.meta.labels.extend(desired.declared().labels.clone());
            thing
                .meta
                .annotations
                .extend(desired.declared().annotations.clone());
            thing.meta.resource_version = now.to_string();
            thing
                .meta
                .managers
                .retain(|stamp| stamp.manager != FIELD_MANAGER);
            thing
                .meta
                .managers
                .push(stamp(FIELD_MANAGER, Operation::Apply, now));
        }
        Applied::new(desired, &thing.meta)
    }

    /// Another hand changes an object.
    pub(crate) fn edit(&mut self, id: &ObjectId) {
        let now = self.tick();
        if let Some(thing) = self.things.get_mut(id) {
            thing.content = None;
            thing.meta.resource_version = now.to_string();
            thing
                .meta
                .managers
                .retain(|stamp| stamp.manager != "kubectl");
            thing
                .meta
                .managers
                .push(stamp("kubectl", Operation::Update, now));
        }
    }

    /// Puts an object into the cluster, as an owner would have.
    pub(crate) fn put(
        &mut self,
        desired: &Desired,
        labels: &[(&str, &str)],
        annotations: &[(&str, &str)],
    ) {
        self.apply(desired);
        let strings = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        if let Some(thing) = self.things.get_mut(desired.id()) {
            thing.meta.labels = strings(labels);
            thing.meta.annotations = strings(annotations);
            thing.content = None;
        }
    }

    /// Writes an object into the inventory.
    pub(crate) fn own(&mut self, desired: &Desired, uid: Option<&str>) {
        let entry = Entry {
            version: desired.version().to_owned(),
            uid: uid.map(Uid::from),
            hash: None,
        };
        self.inventory.entries.insert(desired.id().clone(), entry);
    }

    pub(crate) fn uid(&self, id: &ObjectId) -> Option<&str> {
        self.things.get(id).map(|thing| thing.meta.uid.as_str())
    }

    /// Reconciles without a failure.
    pub(crate) fn reconcile(
        &mut self,
        desired: &[Desired],
        policy: &Policy,
    ) -> Result<Plan, PlanError> {
        let plan = self.plan(desired, policy)?;
        self.execute(&plan, desired, usize::MAX);
        Ok(plan)
    }
}

fn stamp(manager: &str, operation: Operation, second: i64) -> ManagerStamp {
    ManagerStamp {
        manager: manager.to_owned(),
        operation,
        subresource: None,
        time: Some(Timestamp::from_second(second).unwrap()),
    }
}

/// A small shop of every kind that matters for order, protection and data.
pub(crate) fn shop() -> Vec<Value> {
    let rbac = "rbac.authorization.k8s.io/v1";
    let pod = json!({"template": {"spec": {
        "serviceAccountName": "web",
        "containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "web"}}, {"secretRef": {"name": "web"}}]}],
    }}});
    let crd = json!({"spec": {"group": "example.com"}});
    vec![
        object("v1", "Namespace", "shop", json!({})),
        object(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            "things.example.com",
            crd,
        ),
        object("example.com/v1", "Thing", "shop/thing", json!({})),
        object("storage.k8s.io/v1", "StorageClass", "local", json!({})),
        object("v1", "ConfigMap", "shop/web", json!({"data": {"k": "v"}})),
        object(
            "v1",
            "Secret",
            "shop/web",
            json!({"stringData": {"k": "v"}}),
        ),
        object("v1", "ServiceAccount", "shop/web", json!({})),
        object("apps/v1", "Deployment", "shop/web", json!({"spec": pod})),
        object(
            "apps/v1",
            "StatefulSet",
            "shop/db",
            json!({"spec": {"serviceName": "db"}}),
        ),
        object("v1", "Service", "shop/db", json!({})),
        object("v1", "PersistentVolumeClaim", "shop/data", json!({})),
        object(rbac, "Role", "shop/web", json!({})),
        object(
            rbac,
            "RoleBinding",
            "shop/web",
            json!({
                "roleRef": {"kind": "Role", "name": "web"},
                "subjects": [{"kind": "ServiceAccount", "name": "web", "namespace": "shop"}],
            }),
        ),
        object(
            "admissionregistration.k8s.io/v1",
            "ValidatingWebhookConfiguration",
            "shop",
            json!({}),
        ),
        object("v1", "Namespace", "kube-system", json!({})),
        object("apps/v1", "Deployment", "immuops-system/agent", json!({})),
    ]
}
