//! Random kustomization trees: the same seed gives the same tree.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A deterministic source of choices (`SplitMix64`).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// True in so many of a hundred cases.
    fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Files by path.
pub(crate) type Files = BTreeMap<String, String>;

/// Scalars as people write them, well and badly.
const SCALARS: &[&str] = &[
    "plain",
    "\"quoted\"",
    "'single'",
    "yes",
    "\"yes\"",
    "no",
    "on",
    "off",
    "y",
    "N",
    "true",
    "\"true\"",
    "False",
    "null",
    "~",
    "\"\"",
    "''",
    "0",
    "1",
    "\"1\"",
    "-7",
    "012",
    "0o17",
    "0x1F",
    "0b11",
    "1_000",
    "1.0",
    "1.50",
    "1e3",
    "0.1e-7",
    ".5",
    "\"1.10\"",
    "123456789012345678901234567890",
    "9007199254740993",
    "1:30",
    "2020-01-01",
    "2020-01-01T10:20:30Z",
    "\"2020-01-01\"",
    "=",
    "\"<<\"",
    "a: b",
    "\"a: b\"",
    "\"# no comment\"",
    "a#b",
    "\"- x\"",
    "-x",
    "\"*star\"",
    "\"&and\"",
    "\"!bang\"",
    "\"%percent\"",
    "\"@at\"",
    "\"`tick`\"",
    "\"tab\\there\"",
    "\"trailing \"",
    "\" leading\"",
    "\"line\\nbreak\\n\"",
    "\"two\\n\\nbreaks\"",
    "\"\\nfirst\"",
    "\"  indented\\nblock\"",
    "é",
    "\"\\U0001F600\"",
    "\"\\u00A0x\"",
    "\"cr\\rhere\"",
    "\"don't\"",
    "'say \"hi\"'",
    "\"back\\\\slash\"",
    "x,y",
    "\"[x]\"",
    "\"{x}\"",
    "a very long text that goes on and on until it is certainly longer than eighty columns and must be folded",
    "'a very long quoted: text that goes on and on until it is certainly longer than eighty columns ok'",
    "\"trailing colon:\"",
    "\"?\"",
    "\"? x\"",
    "\"---\"",
    "\"...\"",
    "--",
    "!!str 5",
    "!!int \"5\"",
];

/// Scalars that are strings wherever they stand.
const TEXTS: &[&str] = &[
    "plain",
    "\"quoted\"",
    "'single'",
    "\"yes\"",
    "\"1\"",
    "\"true\"",
    "\"\"",
    "a-b",
    "\"a: b\"",
    "\"null\"",
    "\"line\\nbreak\\n\"",
    "\"012\"",
    "\"1e3\"",
    "\"x,y\"",
    "\"trailing \"",
];

const NAMES: &[&str] = &["web", "api", "db", "cache", "queue", "one", "two"];

/// Kinds with pods in them: api version, kind, and the path to the pod's spec.
const WORKLOADS: &[(&str, &str, &str)] = &[
    ("apps/v1", "Deployment", "template"),
    ("apps/v1", "StatefulSet", "template"),
    ("apps/v1", "DaemonSet", "template"),
    ("batch/v1", "Job", "template"),
    ("batch/v1", "CronJob", "jobTemplate"),
    ("v1", "Pod", ""),
];

struct Maker {
    random: Random,
    files: Files,
    /// Every object made: api version, kind, name.
    objects: Vec<(&'static str, &'static str, String)>,
}

/// Makes a tree whose top kustomization is in `top`.
pub(crate) fn tree(seed: u64) -> Files {
    let mut maker = Maker {
        random: Random::new(seed),
        files: Files::new(),
        objects: Vec::new(),
    };
    let bases = 1 + maker.random.below(2);
    let mut below = Vec::new();
    for number in 0..bases {
        below.push(maker.base(&format!("base{number}"), number));
    }
    if maker.random.chance(50) {
        below = vec![maker.overlay("middle", &below)];
    }
    maker.overlay("top", &below);
    maker.files
}

impl Maker {
    fn scalar(&mut self) -> &'static str {
        self.random.pick(SCALARS)
    }

    fn text(&mut self) -> &'static str {
        self.random.pick(TEXTS)
    }

    fn put(&mut self, path: String, text: String) {
        self.files.insert(path, text);
    }

    fn base(&mut self, folder: &str, number: usize) -> String {
        let mut listed = Vec::new();
        let count = 1 + self.random.below(4);
        let mut documents = Vec::new();
        for at in 0..count {
            let name = format!("{}{number}{at}", self.random.pick(NAMES));
            documents.push(self.object(&name));
        }
        if self.random.chance(50) {
            self.put(format!("{folder}/all.yaml"), documents.join("---\n"));
            listed.push("all.yaml".to_owned());
        } else {
            for (at, document) in documents.into_iter().enumerate() {
                self.put(format!("{folder}/r{at}.yaml"), document);
                listed.push(format!("r{at}.yaml"));
            }
        }
        let mut text = format!("resources: [{}]\n", listed.join(", "));
        self.fields(folder, &mut text, number);
        self.put(format!("{folder}/kustomization.yaml"), text);
        folder.to_owned()
    }

    fn overlay(&mut self, folder: &str, below: &[String]) -> String {
        let listed: Vec<String> = below.iter().map(|base| format!("../{base}")).collect();
        let mut text = format!("resources:\n- {}\n", listed.join("\n- "));
        if self.random.chance(25) {
            self.component(&format!("{folder}-component"));
            let _ = writeln!(text, "components: [../{folder}-component]");
        }
        self.fields(folder, &mut text, 9);
        self.put(format!("{folder}/kustomization.yaml"), text);
        folder.to_owned()
    }

    fn component(&mut self, folder: &str) {
        let mut text = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n".to_owned();
        self.fields(folder, &mut text, 8);
        text.push_str("commonAnnotations: {component: \"yes\"}\n");
        self.put(format!("{folder}/kustomization.yaml"), text);
    }

    /// The fields of one kustomization, each now and then.
    fn fields(&mut self, folder: &str, text: &mut String, number: usize) {
        if self.random.chance(25) {
            let _ = writeln!(
                text,
                "namePrefix: {}-",
                self.random.pick(&["p", "dev", "x1"])
            );
        }
        if self.random.chance(15) {
            let _ = writeln!(text, "nameSuffix: -{}", self.random.pick(&["s", "v2"]));
        }
        if self.random.chance(25) {
            let _ = writeln!(
                text,
                "namespace: {}",
                self.random.pick(&["prod", "test", "default"])
            );
        }
        if self.random.chance(20) {
            let value = self.text();
            let _ = writeln!(
                text,
                "labels:\n- pairs: {{team: {value}}}\n  includeSelectors: {}\n  includeTemplates: {}",
                self.random.chance(50),
                self.random.chance(50)
            );
        }
        if self.random.chance(10) {
            let value = self.text();
            let _ = writeln!(text, "commonLabels: {{app: {value}}}");
        }
        if !folder.ends_with("component") && self.random.chance(15) {
            let value = self.text();
            let _ = writeln!(text, "commonAnnotations: {{note: {value}}}");
        }
        if self.random.chance(20) {
            let change = self.random.pick(&[
                "newTag: v9",
                "newTag: \"1\"",
                "newName: mirror/nginx",
                "digest: sha256:abcd",
                "tagSuffix: -x",
                "newName: other, newTag: v1",
            ]);
            let name = self.random.pick(&["nginx", "reg.io/app", "ngin."]);
            let _ = writeln!(text, "images:\n- {{name: {name}, {change}}}");
        }
        if self.random.chance(25) {
            self.generators(folder, text, number);
        }
        if self.random.chance(45) {
            self.patches(folder, text);
        }
        if self.random.chance(15) {
            self.replacement(text);
        }
        if self.random.chance(5) {
            let target = self
                .objects
                .iter()
                .find(|(_, kind, _)| *kind == "Deployment");
            if let Some((_, _, name)) = target {
                let _ = writeln!(text, "replicas:\n- {{name: {name}, count: 4}}");
            }
        }
        if self.random.chance(5) {
            text.push_str("sortOptions: {order: fifo}\n");
        }
        if self.random.chance(4) {
            text.push_str("buildMetadata: [originAnnotations, transformerAnnotations]\n");
        }
    }

    fn generators(&mut self, folder: &str, text: &mut String, number: usize) {
        let name = format!("conf{}", self.random.below(2));
        let behavior = if number < 8 {
            "create"
        } else {
            self.random.pick(&["merge", "replace", "create"])
        };
        let value = self
            .random
            .pick(&["a=1", "a=\"q\"", "b=x y", "c=l=m", "d='s'", "e="]);
        let kind = if self.random.chance(60) {
            "configMapGenerator"
        } else {
            "secretGenerator"
        };
        let _ = writeln!(
            text,
            "{kind}:\n- name: {name}\n  behavior: {behavior}\n  literals: ['{}']",
            value.replace('\'', "''")
        );
        if self.random.chance(40) {
            self.put(
                format!("{folder}/app.env"),
                "ENV=1\n# comment\n  SPACED = x \nEMPTY\n".to_owned(),
            );
            text.push_str("  envs: [app.env]\n");
        }
        if self.random.chance(40) {
            let content = self.random.pick(&[
                "one\ntwo\n",
                "no newline",
                "",
                "key: value\n  deep: x\n",
                "tab\tbed\n",
                "trailing \nline\n",
            ]);
            self.put(format!("{folder}/file.txt"), content.to_owned());
            text.push_str("  files: [file.txt, renamed=file.txt]\n");
        }
        if self.random.chance(30) {
            let option = self.random.pick(&[
                "disableNameSuffixHash: true",
                "labels: {l: x}",
                "annotations: {a: \"1\"}",
                "immutable: true",
            ]);
            let _ = writeln!(text, "  options: {{{option}}}");
        }
        if self.random.chance(15) {
            text.push_str("generatorOptions: {labels: {g: h}}\n");
        }
        self.objects.push((
            "v1",
            if kind.starts_with('c') {
                "ConfigMap"
            } else {
                "Secret"
            },
            name,
        ));
    }

    fn patches(&mut self, folder: &str, text: &mut String) {
        if self.objects.is_empty() {
            return;
        }
        text.push_str("patches:\n");
        for at in 0..=self.random.below(3) {
            let chosen = self.random.below(self.objects.len());
            let (version, kind, name) = self.objects[chosen].clone();
            let target = match self.random.below(5) {
                0 => String::new(),
                1 => format!("  target: {{kind: {kind}, name: {name}}}\n"),
                2 => format!("  target: {{kind: {kind}}}\n"),
                3 => format!("  target: {{name: \"{}.*\"}}\n", name.split_at(2).0),
                _ => "  target: {labelSelector: \"app in (web, x), tier!=z\"}\n".to_owned(),
            };
            if self.random.chance(35) {
                let operations = self.json_patch();
                let target = if target.is_empty() {
                    format!("  target: {{kind: {kind}}}\n")
                } else {
                    target
                };
                let _ = write!(text, "- patch: |-\n{}\n{target}", indented(&operations, 4));
                continue;
            }
            let mut patch =
                format!("apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n");
            if self.random.chance(40) {
                let (a, b) = (self.scalar(), self.text());
                let _ = writeln!(patch, "  annotations:\n    patched: {b}\n    extra: {a}");
            }
            patch.push_str(&self.patch_body(kind));
            if self.random.chance(50) {
                self.put(format!("{folder}/patch{at}.yaml"), patch);
                let _ = write!(text, "- path: patch{at}.yaml\n{target}");
            } else {
                let _ = write!(text, "- patch: |-\n{}\n{target}", indented(&patch, 4));
            }
        }
    }

    fn json_patch(&mut self) -> String {
        let mut operations = String::new();
        for _ in 0..=self.random.below(2) {
            let value = self.scalar();
            let operation = match self.random.below(6) {
                0 => format!(
                    "- op: add\n  path: /metadata/annotations\n  value: {{j: {value}, k: [1, {value}]}}"
                ),
                1 => format!("- op: add\n  path: /spec\n  value: {{replicas: 3, odd: {value}}}"),
                2 => format!("- op: replace\n  path: /metadata/labels/app\n  value: {value}"),
                3 => "- op: remove\n  path: /metadata/labels/app".to_owned(),
                4 => "- {op: copy, from: /metadata/name, path: /metadata/labels/copied}".to_owned(),
                _ => "- {op: test, path: /kind, value: Deployment}".to_owned(),
            };
            operations.push_str(&operation);
            operations.push('\n');
        }
        operations
    }

    fn patch_body(&mut self, kind: &str) -> String {
        let Some((_, _, template)) = WORKLOADS.iter().find(|(_, known, _)| *known == kind) else {
            let value = self.scalar();
            return match kind {
                "Service" => match self.random.below(4) {
                    0 => "spec:\n  ports:\n  - {port: 80, name: first}\n".to_owned(),
                    1 => {
                        "spec:\n  ports:\n  - {port: 80, protocol: UDP, name: udp}\n  - {port: 9}\n"
                            .to_owned()
                    }
                    2 => "spec:\n  ports:\n  - {port: 443, $patch: delete}\n".to_owned(),
                    _ => format!("spec:\n  type: {value}\n"),
                },
                "ConfigMap" => format!("data:\n  patched: {value}\n  a: null\n"),
                "Secret" => "stringData: {x: y}\n".to_owned(),
                "Thing" => match self.random.below(3) {
                    0 => format!("spec:\n  list: [{value}]\n  map: null\n"),
                    1 => format!("spec:\n  map:\n    $patch: replace\n    z: {value}\n"),
                    _ => format!("spec:\n  value: {value}\n  map: {{deep: {{x: {value}}}}}\n"),
                },
                _ => format!("metadata2: {value}\n"),
            };
        };
        let mut pod = String::new();
        for _ in 0..=self.random.below(2) {
            let value = self.scalar();
            let part = match self.random.below(12) {
                0 => "containers:\n- name: main\n  image: nginx:patched\n".to_owned(),
                1 => "containers:\n- name: side\n  image: side\n- name: main\n  args: [x]\n".to_owned(),
                2 => format!("containers:\n- name: main\n  env:\n  - name: B\n    value: {value}\n  - name: NEW\n    value: \"n\"\n"),
                3 => "containers:\n- name: main\n  env:\n  - name: A\n    $patch: delete\n".to_owned(),
                4 => "containers:\n- name: main\n  ports:\n  - containerPort: 80\n    name: web\n  - containerPort: 81\n    protocol: UDP\n".to_owned(),
                5 => "containers:\n- $patch: replace\n- name: only\n  image: only\n".to_owned(),
                6 => "volumes:\n- name: data\n  emptyDir: null\n  hostPath: {path: /x}\n".to_owned(),
                7 => format!("tolerations:\n- key: {value}\n  operator: Exists\n"),
                8 => format!("nodeSelector:\n  disk: {value}\n  gone: null\n"),
                9 => "imagePullSecrets:\n- name: pull\n".to_owned(),
                10 => "hostAliases:\n- ip: 1.2.3.4\n  hostnames: [h]\n".to_owned(),
                _ => "containers:\n- name: main\n  resources:\n    limits: {cpu: 1, memory: 1Gi}\n    requests: null\n".to_owned(),
            };
            let key = part.split(':').next().unwrap();
            if !pod.contains(&format!("{key}:")) {
                pod.push_str(&part);
            }
        }
        let pod = indented(&pod, 0);
        match *template {
            "" => format!("spec:\n{}\n", indented(&pod, 2)),
            "template" => format!("spec:\n  template:\n    spec:\n{}\n", indented(&pod, 6)),
            _ => format!(
                "spec:\n  jobTemplate:\n    spec:\n      template:\n        spec:\n{}\n",
                indented(&pod, 10)
            ),
        }
    }

    fn replacement(&mut self, text: &mut String) {
        if self.objects.is_empty() {
            return;
        }
        let chosen = self.random.below(self.objects.len());
        let (_, kind, name) = self.objects[chosen].clone();
        let source = self
            .random
            .pick(&["metadata.name", "metadata.labels.app", "kind"]);
        let target = self
            .random
            .pick(&["Deployment", "Service", "ConfigMap", "Thing", kind]);
        let field = self.random.pick(&[
            "metadata.annotations.[replaced/by]",
            "metadata.labels.app",
            "spec.template.spec.containers.[name=main].image",
            "spec.template.spec.containers.*.image",
            "spec.template.spec.containers.0.env.[name=A].value",
            "data.made",
            "spec.value",
        ]);
        let options = self.random.pick(&[
            "",
            "    options: {create: true}\n",
            "    options: {delimiter: \":\", index: 1}\n",
            "    options: {delimiter: \"-\", index: 0, create: true}\n",
        ]);
        let _ = write!(
            text,
            "replacements:\n- source: {{kind: {kind}, name: {name}, fieldPath: {source}}}\n  targets:\n  - select: {{kind: {target}}}\n    fieldPaths: ['{field}']\n{options}"
        );
    }

    fn object(&mut self, name: &str) -> String {
        let choice = self.random.below(14);
        if choice < 6 {
            return self.workload(name);
        }
        let value = self.scalar();
        let (version, kind, body): (&str, &str, String) = match choice {
            6 => ("v1", "Service", self.service()),
            7 => ("v1", "ConfigMap", {
                let other = self.scalar();
                format!(
                    "data:\n  a: {}\n  \"b\": {}\n  multi: |\n    line one\n      line two\n\n    end\n  {}: x\nodd: {value}\nlist: [{other}, {{k: {value}}}]\n",
                    self.text(),
                    self.text(),
                    self.random
                        .pick(&["c", "\"1\"", "\"yes\"", "a10", "a9", "A", "_"])
                )
            }),
            8 => (
                "v1",
                "ServiceAccount",
                "imagePullSecrets:\n- name: conf0\n".to_owned(),
            ),
            9 => (
                "rbac.authorization.k8s.io/v1",
                "RoleBinding",
                format!(
                    "roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: Role\n  name: {name}\nsubjects:\n- kind: ServiceAccount\n  name: {}\n- kind: ServiceAccount\n  name: default\n  namespace: other\n",
                    self.known("ServiceAccount")
                ),
            ),
            10 => (
                "networking.k8s.io/v1",
                "Ingress",
                format!(
                    "spec:\n  tls:\n  - secretName: conf0\n  rules:\n  - host: h\n    http:\n      paths:\n      - path: /\n        pathType: Prefix\n        backend:\n          service:\n            name: {}\n            port: {{number: 80}}\n",
                    self.known("Service")
                ),
            ),
            11 => (
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                format!(
                    "spec:\n  scaleTargetRef:\n    apiVersion: apps/v1\n    kind: Deployment\n    name: {}\n  maxReplicas: 3\n",
                    self.known("Deployment")
                ),
            ),
            12 => ("v1", "Namespace", "spec: {}\n".to_owned()),
            _ => (
                "example.com/v1",
                "Thing",
                format!(
                    "spec:\n  value: {value}\n  list:\n  - {value}\n  - x: {value}\n    y: []\n  - [a, {value}]\n  map:\n    deep: {{}}\n    other: &anchor {{p: {value}}}\n    again: *anchor\n    merged:\n      <<: *anchor\n      q: 1\n"
                ),
            ),
        };
        self.with_metadata(version, kind, name, &body)
    }

    /// A name that some object of the kind has, if there is one.
    fn known(&mut self, kind: &str) -> String {
        let known: Vec<String> = self
            .objects
            .iter()
            .filter(|(_, k, _)| *k == kind)
            .map(|(_, _, name)| name.clone())
            .collect();
        if known.is_empty() {
            "web00".to_owned()
        } else {
            known[self.random.below(known.len())].clone()
        }
    }

    fn with_metadata(&mut self, version: &str, kind: &str, name: &str, body: &str) -> String {
        let fixed: (&'static str, &'static str) = [
            ("v1", "Service"),
            ("v1", "ConfigMap"),
            ("v1", "ServiceAccount"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            ("networking.k8s.io/v1", "Ingress"),
            ("autoscaling/v2", "HorizontalPodAutoscaler"),
            ("v1", "Namespace"),
            ("example.com/v1", "Thing"),
            ("apps/v1", "Deployment"),
            ("apps/v1", "StatefulSet"),
            ("apps/v1", "DaemonSet"),
            ("batch/v1", "Job"),
            ("batch/v1", "CronJob"),
            ("v1", "Pod"),
        ]
        .into_iter()
        .find(|(v, k)| *v == version && *k == kind)
        .unwrap();
        self.objects.push((fixed.0, fixed.1, name.to_owned()));
        let mut text = format!("apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n");
        if self.random.chance(40) {
            let _ = writeln!(
                text,
                "  labels:\n    app: {}\n    tier: {}",
                self.random.pick(&["web", "x", "\"1\""]),
                self.text()
            );
        }
        if self.random.chance(25) {
            let _ = writeln!(
                text,
                "  annotations:\n    note: {}\n    zero: {}",
                self.text(),
                self.scalar()
            );
        }
        if self.random.chance(15) {
            let _ = writeln!(
                text,
                "  namespace: {}",
                self.random.pick(&["prod", "default", "elsewhere"])
            );
        }
        text.push_str(body);
        text
    }

    fn service(&mut self) -> String {
        self.random.pick(&[
            "spec:\n  selector: {app: web}\n  ports:\n  - port: 80\n    targetPort: http\n",
            "spec:\n  ports:\n  - {port: 80, protocol: TCP}\n  - {port: 443, protocol: TCP, name: tls}\n",
            "spec:\n  ports:\n  - {port: 80}\n  - {port: 53, protocol: UDP}\n",
            "spec:\n  clusterIP: None\n  ports: []\n",
        ]).to_owned()
    }

    fn workload(&mut self, name: &str) -> String {
        let (version, kind, template) = WORKLOADS[self.random.below(WORKLOADS.len())];
        let image = self.random.pick(&[
            "nginx",
            "nginx:1.25",
            "reg.io/app@sha256:00",
            "reg.io:5000/app:v1",
            "\"nginx:1\"",
        ]);
        let (a, b) = (self.text(), self.scalar());
        let mut pod = format!(
            "containers:\n- name: main\n  image: {image}\n  env:\n  - name: A\n    value: {a}\n  - name: B\n    value: {b}\n"
        );
        if self.random.chance(50) {
            pod.push_str(
                "  - name: C\n    valueFrom:\n      configMapKeyRef: {name: conf0, key: a}\n",
            );
        }
        if self.random.chance(40) {
            pod.push_str(
                "  ports:\n  - containerPort: 80\n  - containerPort: 53\n    protocol: UDP\n",
            );
        }
        if self.random.chance(30) {
            pod.push_str(
                "  envFrom:\n  - configMapRef: {name: conf1}\n  - secretRef: {name: conf0}\n",
            );
        }
        if self.random.chance(30) {
            pod.push_str("- name: helper\n  image: helper:2\n");
        }
        if self.random.chance(25) {
            pod.push_str("initContainers:\n- name: init\n  image: nginx:init\n");
        }
        if self.random.chance(40) {
            pod.push_str("volumes:\n- name: data\n  emptyDir: {}\n- name: conf\n  configMap: {name: conf0}\n");
        }
        if self.random.chance(20) {
            let account = self.known("ServiceAccount");
            let _ = writeln!(pod, "serviceAccountName: {account}");
        }
        if self.random.chance(20) {
            pod.push_str(
                "tolerations:\n- key: k\n  operator: Exists\nnodeSelector: {disk: ssd, gone: x}\n",
            );
        }
        if self.random.chance(15) {
            pod.push_str("hostAliases:\n- ip: 1.2.3.4\n  hostnames: [a]\n- ip: 5.6.7.8\n");
        }
        let labels = "metadata:\n  labels:\n    app: web\n";
        let body = match template {
            "" => format!("spec:\n{}\n", indented(&pod, 2)),
            "template" => {
                let mut body = "spec:\n".to_owned();
                if kind == "Deployment" || kind == "StatefulSet" {
                    let _ = writeln!(
                        body,
                        "  replicas: {}",
                        self.random.pick(&["1", "\"2\"", "3"])
                    );
                }
                if self.random.chance(60) {
                    body.push_str("  selector:\n    matchLabels: {app: web}\n");
                }
                if kind == "StatefulSet" && self.random.chance(50) {
                    body.push_str("  serviceName: web00\n  volumeClaimTemplates:\n  - metadata: {name: data}\n    spec: {storageClassName: fast}\n");
                }
                let _ = write!(
                    body,
                    "  template:\n{}\n    spec:\n{}\n",
                    indented(labels, 4),
                    indented(&pod, 6)
                );
                body
            }
            _ => format!(
                "spec:\n  schedule: \"* * * * *\"\n  jobTemplate:\n    spec:\n      template:\n        spec:\n{}\n",
                indented(&pod, 10)
            ),
        };
        self.with_metadata(version, kind, name, &body)
    }
}

fn indented(text: &str, by: usize) -> String {
    let space = " ".repeat(by);
    let lines: Vec<String> = text
        .trim_end()
        .lines()
        .map(|line| format!("{space}{line}"))
        .collect();
    lines.join("\n")
}
