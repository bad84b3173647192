//! The schemas that operations refer to, gathered under their names.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::operation::Shape;

/// Where OpenAPI keeps schemas.
const PLACE: &str = "#/components/schemas/";

/// What is written and what is read are told apart: a field that may be left out on the way in is always there on the
/// way out.
#[derive(Debug)]
pub(super) struct Schemas {
    answers: SchemaGenerator,
    requests: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            answers: settings().for_serialize().into_generator(),
            requests: settings().for_deserialize().into_generator(),
        }
    }

    pub(super) fn answered(&mut self, shape: Shape) -> Value {
        value(shape(&mut self.answers))
    }

    /// References in it hold only after [`Schemas::finish`] has renamed them.
    pub(super) fn requested(&mut self, shape: Shape) -> Value {
        value(shape(&mut self.requests))
    }

    /// All schemas by name, and the names of those that are read as they are not written: `Pool` is `PoolInput` there.
    pub(super) fn finish(mut self) -> (Map<String, Value>, Renamed) {
        let mut all = self.answers.take_definitions(true);
        all.values_mut().for_each(without_null_where_left_out);
        let requests = self.requests.take_definitions(true);
        let mut renamed = Renamed(Vec::new());
        // A schema that refers to a renamed one is another one too: until nothing is left to rename.
        loop {
            let found = requests.iter().find(|(name, schema)| {
                let mut read = (*schema).clone();
                renamed.apply(&mut read);
                !renamed.0.contains(name) && all.get(*name).is_some_and(|written| *written != read)
            });
            match found {
                Some((name, _)) => renamed.0.push(name.clone()),
                None => break,
            }
        }
        for (name, mut schema) in requests {
            renamed.apply(&mut schema);
            all.insert(renamed.name(&name), schema);
        }
        (all, renamed)
    }
}

/// Names of schemas that are read in another shape than they are written.
#[derive(Debug)]
pub(super) struct Renamed(Vec<String>);

impl Renamed {
    fn name(&self, name: &str) -> String {
        if self.0.iter().any(|known| known == name) { format!("{name}Input") } else { name.to_owned() }
    }

    /// Puts the new names in place of the old ones.
    pub(super) fn apply(&self, schema: &mut Value) {
        match schema {
            Value::Array(items) => items.iter_mut().for_each(|item| self.apply(item)),
            Value::Object(fields) => {
                for (key, value) in fields {
                    match value {
                        Value::String(reference) if key == "$ref" => {
                            if let Some(name) = reference.strip_prefix(PLACE) {
                                *reference = format!("{PLACE}{}", self.name(name));
                            }
                        }
                        value => self.apply(value),
                    }
                }
            }
            _ => {}
        }
    }
}

/// A schema without null as a value.
pub(super) fn without_null(schema: &mut Value) {
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema["type"] = only;
        }
    }
    let Some(any) = schema.get("anyOf").and_then(Value::as_array) else { return };
    let rest: Vec<_> = any.iter().filter(|one| one["type"] != "null").cloned().collect();
    if let ([Value::Object(only)], Some(fields)) = (rest.as_slice(), schema.as_object_mut()) {
        fields.remove("anyOf");
        fields.extend(only.clone());
    }
}

/// What an answer may leave out is left out in place of being null, unless its type says so (`x-null`).
fn without_null_where_left_out(schema: &mut Value) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (name, field) in fields {
        let both = field.as_object_mut().and_then(|field| field.remove("x-null")).is_some();
        if !both && !required.contains(&Value::from(name.as_str())) {
            without_null(field);
        }
    }
}

/// Each whole number says how far it may go: a `format` alone binds nobody who reads the description.
pub(super) fn bound(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(bound),
        Value::Object(fields) => {
            let ends = match fields.get("format").and_then(Value::as_str) {
                Some("uint" | "uint64") => Some((json!(0), json!(u64::MAX))),
                Some("uint32") => Some((json!(0), json!(u32::MAX))),
                Some("int32") => Some((json!(i32::MIN), json!(i32::MAX))),
                _ => None,
            };
            if let Some((lowest, highest)) = ends {
                fields.entry("minimum").or_insert(lowest);
                fields.entry("maximum").or_insert(highest);
            }
            fields.values_mut().for_each(bound);
        }
        _ => {}
    }
}

fn value(schema: Schema) -> Value {
    schema.to_value()
}
