//! Routes that are described as they are registered.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, on};

use super::operation::{Operation, Placed};

/// Routes of one noun, or of several.
#[derive(Debug)]
pub(crate) struct Routes<S> {
    noun: &'static str,
    router: Router<S>,
    operations: Vec<Placed>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// None yet, of this noun.
    pub(crate) fn of(noun: &'static str) -> Self {
        Self { noun, router: Router::new(), operations: Vec::new() }
    }

    pub(crate) fn delete<T: 'static>(self, path: &'static str, route: impl Handler<T, S>, says: Operation) -> Self {
        self.add(Method::DELETE, MethodFilter::DELETE, path, route, says)
    }

    pub(crate) fn get<T: 'static>(self, path: &'static str, route: impl Handler<T, S>, says: Operation) -> Self {
        self.add(Method::GET, MethodFilter::GET, path, route, says)
    }

    pub(crate) fn patch<T: 'static>(self, path: &'static str, route: impl Handler<T, S>, says: Operation) -> Self {
        self.add(Method::PATCH, MethodFilter::PATCH, path, route, says)
    }

    pub(crate) fn post<T: 'static>(self, path: &'static str, route: impl Handler<T, S>, says: Operation) -> Self {
        self.add(Method::POST, MethodFilter::POST, path, route, says)
    }

    pub(crate) fn put<T: 'static>(self, path: &'static str, route: impl Handler<T, S>, says: Operation) -> Self {
        self.add(Method::PUT, MethodFilter::PUT, path, route, says)
    }

    fn add<T: 'static>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        route: impl Handler<T, S>,
        operation: Operation,
    ) -> Self {
        self.router = self.router.route(path, on(filter, route));
        self.operations.push(Placed { method, path, noun: self.noun, operation });
        self
    }

    /// These and those.
    pub(crate) fn and(mut self, others: Self) -> Self {
        self.router = self.router.merge(others.router);
        self.operations.extend(others.operations);
        self
    }

    /// Bodies are at most this large.
    pub(crate) fn limited(mut self, bytes: usize) -> Self {
        self.router = self.router.layer(DefaultBodyLimit::max(bytes));
        self
    }

    /// Gives the routes what they work with.
    pub(crate) fn over<S2>(self, state: S) -> Routes<S2> {
        Routes { noun: self.noun, router: self.router.with_state(state), operations: self.operations }
    }

    /// The router, and what its routes say.
    pub(crate) fn into_parts(self) -> (Router<S>, Vec<Placed>) {
        (self.router, self.operations)
    }
}
