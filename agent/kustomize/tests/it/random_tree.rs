//! Random kustomization trees: the same seed gives the same tree.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::random::Random;
use super::random_object::WORKLOADS;
use super::scalars::{SCALARS, TEXTS};

/// Files by path.
pub(crate) type Files = BTreeMap<String, String>;

const NAMES: &[&str] = &["web", "api", "db", "cache", "queue", "one", "two"];

pub(crate) struct Maker {
    pub(crate) random: Random,
    files: Files,
    /// Every object made: api version, kind, name.
    pub(crate) objects: Vec<(&'static str, &'static str, String)>,
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
    pub(crate) fn scalar(&mut self) -> &'static str {
        self.random.pick(SCALARS)
    }

    pub(crate) fn text(&mut self) -> &'static str {
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
}

/// The text with so many blanks in front of each line.
pub(crate) fn indented(text: &str, by: usize) -> String {
    let space = " ".repeat(by);
    let lines: Vec<String> = text
        .trim_end()
        .lines()
        .map(|line| format!("{space}{line}"))
        .collect();
    lines.join("\n")
}
