//! A table under construction: named columns over the same rows.

use super::TableError;
use polars::prelude::{Column, DataFrame, NamedFrom, Series};

/// Columns over `rows`; each is added by a function of a row.
pub(crate) struct Frame<'r, R> {
    rows: &'r [R],
    columns: Vec<Column>,
}

impl<'r, R> Frame<'r, R> {
    pub fn new(rows: &'r [R]) -> Self {
        Self {
            rows,
            columns: Vec::new(),
        }
    }

    fn add<T, P: ?Sized>(&mut self, name: &str, values: T)
    where
        Series: NamedFrom<T, P>,
    {
        self.columns.push(Series::new(name.into(), values).into());
    }

    pub fn text(&mut self, name: &str, get: impl Fn(&R) -> &str) {
        let values: Vec<&str> = self.rows.iter().map(get).collect();
        self.add(name, values);
    }

    /// Text that has to be put together, or that may be absent.
    pub fn words(&mut self, name: &str, get: impl Fn(&R) -> Option<String>) {
        let values: Vec<Option<String>> = self.rows.iter().map(get).collect();
        self.add(name, values);
    }

    pub fn count(&mut self, name: &str, get: impl Fn(&R) -> u64) {
        let values: Vec<u64> = self.rows.iter().map(get).collect();
        self.add(name, values);
    }

    pub fn maybe_count(&mut self, name: &str, get: impl Fn(&R) -> Option<u64>) {
        let values: Vec<Option<u64>> = self.rows.iter().map(get).collect();
        self.add(name, values);
    }

    pub fn real(&mut self, name: &str, get: impl Fn(&R) -> f64) {
        let values: Vec<f64> = self.rows.iter().map(get).collect();
        self.add(name, values);
    }

    pub fn maybe_real(&mut self, name: &str, get: impl Fn(&R) -> Option<f64>) {
        let values: Vec<Option<f64>> = self.rows.iter().map(get).collect();
        self.add(name, values);
    }

    pub fn finish(self, table: &'static str) -> Result<DataFrame, TableError> {
        DataFrame::new(self.rows.len(), self.columns).map_err(TableError::encode(table))
    }
}
