//! A small client for the JSON APIs of forges: what a person does by hand, and nothing of the agent's code.

use anyhow::{Result, bail};
use serde_json::Value;

/// An API, as one user.
#[derive(Clone, Debug)]
pub struct JsonApi {
    agent: ureq::Agent,
    /// Its address.
    pub address: String,
    authorization: String,
}

impl JsonApi {
    /// The API at an address, with this value of the `Authorization` header.
    pub fn new(address: &str, authorization: &str) -> Self {
        Self {
            agent: ureq::Agent::config_builder()
                .http_status_as_error(false)
                .build()
                .new_agent(),
            address: address.to_owned(),
            authorization: authorization.to_owned(),
        }
    }

    /// Reads.
    ///
    /// # Errors
    /// If the answer is no success.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.call("GET", path, None)
    }

    /// Creates.
    ///
    /// # Errors
    /// If the answer is no success.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call("POST", path, Some(body))
    }

    /// Sends a request with any method.
    ///
    /// # Errors
    /// If the answer is no success.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address))
            .header("Authorization", &self.authorization)
            .header("Content-Type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default())?;
        let mut answer = self.agent.run(request)?;
        let text = answer.body_mut().read_to_string()?;
        if !answer.status().is_success() {
            bail!("{method} {path}: {}: {text}", answer.status());
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_str(&text)?)
    }
}
