//! Rows as files: Parquet for programs, CSV for everything else. Both have the same columns; the unit stands in each row,
//! and Parquet's schema says what each measure is.
use std::{borrow::Cow, collections::HashMap, sync::Arc};

use arrow_array::{
    Array, ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
    cast::AsArray as _,
    types::{Float64Type, UInt32Type, UInt64Type},
};
use arrow_schema::{DataType, Field, Schema};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::Compression,
    file::{metadata::KeyValue, properties::WriterProperties},
};

use super::row::{MEASURES, Row, unit};

/// Under this key a Parquet file of one run holds its manifest.
const RUN: &str = "bocage.run";

/// So many rows are held as columns at once.
const BATCH_ROWS: usize = 64 << 10;

/// The columns, in the order of both kinds of file.
pub(crate) const COLUMNS: [&str; 10] =
    ["time_s", "seed", "variant", "measure", "unit", "jurisdiction", "node", "kind", "by", "value"];

/// A table that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("it is no table of measures: {0}")]
pub(crate) struct TableError(String);

impl From<parquet::errors::ParquetError> for TableError {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self(error.to_string())
    }
}

impl From<arrow_schema::ArrowError> for TableError {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self(error.to_string())
    }
}

fn schema() -> Schema {
    let field = |name: &str| match name {
        "time_s" => with_unit(Field::new(name, DataType::Float64, false), "s"),
        "seed" => Field::new(name, DataType::UInt64, false),
        "node" => Field::new(name, DataType::UInt32, true),
        "value" => with_unit(Field::new(name, DataType::Float64, false), "as the column unit says"),
        "variant" | "measure" | "unit" => Field::new(name, DataType::Utf8, false),
        _ => Field::new(name, DataType::Utf8, true),
    };
    let measures = MEASURES.iter().map(|(name, unit, what)| ((*name).to_owned(), format!("[{unit}] {what}")));
    Schema::new_with_metadata(COLUMNS.map(field).to_vec(), measures.collect::<HashMap<_, _>>())
}

fn with_unit(field: Field, unit: &str) -> Field {
    field.with_metadata(HashMap::from([("unit".to_owned(), unit.to_owned())]))
}

/// Writes a Parquet file into memory: batch by batch, then `finish`.
pub(crate) struct Parquet {
    writer: ArrowWriter<Vec<u8>>,
    schema: Arc<Schema>,
}

impl Parquet {
    /// A new table. `run`: the manifest of the run, if all rows are of one.
    ///
    /// # Panics
    /// Never: the schema is a constant that Parquet can express.
    pub(crate) fn new(run: Option<String>) -> Self {
        let schema = Arc::new(schema());
        let run = run.map(|run| vec![KeyValue::new(RUN.to_owned(), run)]);
        let settings = WriterProperties::builder().set_compression(Compression::SNAPPY).set_key_value_metadata(run);
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(settings.build()));
        Self { writer: writer.expect("the schema is one that Parquet can express"), schema }
    }

    /// Adds rows of one variant.
    pub(crate) fn add(&mut self, variant: &str, rows: &[Row]) -> Result<(), TableError> {
        for rows in rows.chunks(BATCH_ROWS) {
            let columns = COLUMNS.map(|name| column(name, variant, rows)).to_vec();
            self.writer.write(&RecordBatch::try_new(self.schema.clone(), columns)?)?;
        }
        Ok(())
    }

    /// The whole file.
    pub(crate) fn finish(self) -> Result<Vec<u8>, TableError> {
        Ok(self.writer.into_inner()?)
    }
}

fn column(name: &str, variant: &str, rows: &[Row]) -> ArrayRef {
    fn texts<'a>(rows: &'a [Row], of: impl Fn(&'a Row) -> Option<&'a str>) -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    }
    match name {
        "time_s" => Arc::new(rows.iter().map(|row| row.time_s).collect::<Float64Array>()),
        "seed" => Arc::new(rows.iter().map(|row| row.seed).collect::<UInt64Array>()),
        "variant" => Arc::new(rows.iter().map(|_| Some(variant)).collect::<StringArray>()),
        "measure" => texts(rows, |row| Some(&row.measure)),
        "unit" => texts(rows, |row| Some(unit(&row.measure).unwrap_or_default())),
        "jurisdiction" => texts(rows, |row| row.jurisdiction.as_deref()),
        "node" => Arc::new(rows.iter().map(|row| row.node).collect::<UInt32Array>()),
        "kind" => texts(rows, |row| row.kind.as_deref()),
        "by" => texts(rows, |row| row.by.as_deref()),
        "value" => Arc::new(rows.iter().map(|row| row.value).collect::<Float64Array>()),
        other => unreachable!("no column is called {other}"),
    }
}

/// What a Parquet file of one run says in its head: its manifest.
pub(crate) fn run_of(bytes: &[u8]) -> Result<String, TableError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::copy_from_slice(bytes))?;
    let pairs = builder.metadata().file_metadata().key_value_metadata();
    let run = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == RUN)?.value.clone());
    run.ok_or_else(|| TableError("it does not say which run it is of".into()))
}

/// All rows of a Parquet file.
pub(crate) fn read(bytes: Vec<u8>) -> Result<Vec<Row>, TableError> {
    let mut rows = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes))?.build()? {
        let batch = batch?;
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| TableError(format!("no column {name}")));
        let not = |name: &str| TableError(format!("the column {name} is of another type"));
        let text = |name: &'static str| column(name)?.as_string_opt::<i32>().ok_or_else(|| not(name));
        let float = |name: &'static str| column(name)?.as_primitive_opt::<Float64Type>().ok_or_else(|| not(name));
        let (times, values) = (float("time_s")?, float("value")?);
        let seeds = column("seed")?.as_primitive_opt::<UInt64Type>().ok_or_else(|| not("seed"))?;
        let nodes = column("node")?.as_primitive_opt::<UInt32Type>().ok_or_else(|| not("node"))?;
        let (measures, kinds, by, laws) = (text("measure")?, text("kind")?, text("by")?, text("jurisdiction")?);
        let owned = |texts: &StringArray, at: usize| {
            texts.is_valid(at).then(|| Cow::<'static, str>::Owned(texts.value(at).to_owned()))
        };
        rows.extend((0..batch.num_rows()).map(|at| Row {
            time_s: times.value(at),
            seed: seeds.value(at),
            measure: owned(measures, at).unwrap_or_default(),
            jurisdiction: owned(laws, at),
            node: nodes.is_valid(at).then(|| nodes.value(at)),
            kind: owned(kinds, at),
            by: owned(by, at),
            value: values.value(at),
        }));
    }
    Ok(rows)
}

/// Writes rows as CSV. The first call of a file writes its head, too.
pub(crate) fn write_csv<W: std::io::Write>(
    writer: &mut csv::Writer<W>,
    head: bool,
    variant: &str,
    rows: &[Row],
) -> std::io::Result<()> {
    if head {
        writer.write_record(COLUMNS)?;
    }
    for row in rows {
        let (time, seed, value) = (row.time_s.to_string(), row.seed.to_string(), row.value.to_string());
        let node = row.node.map(|node| node.to_string());
        let empty = |text: &Option<Cow<'static, str>>| text.as_deref().unwrap_or_default().to_owned();
        writer.write_record([
            &time,
            &seed,
            variant,
            &row.measure,
            unit(&row.measure).unwrap_or_default(),
            &empty(&row.jurisdiction),
            node.as_deref().unwrap_or_default(),
            &empty(&row.kind),
            &empty(&row.by),
            &value,
        ])?;
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again_with_its_run_and_csv_says_the_same() {
        let law = "FR".parse().unwrap();
        let rows = vec![
            Row::new(7, 1.5, "operation_ms", 12.25).of("write").within(law),
            Row::new(7, 2.0, "sent_bytes", 3.0).on(4).within(law),
            Row::new(7, 2.0, "nakamoto", 2.0).of("votes").by("operator"),
        ];
        let mut table = Parquet::new(Some("{\"seed\":7}".into()));
        table.add("base", &rows).unwrap();
        let bytes = table.finish().unwrap();
        assert_eq!(run_of(&bytes).unwrap(), "{\"seed\":7}");
        assert_eq!(read(bytes).unwrap(), rows);
        let mut text = Vec::new();
        write_csv(&mut csv::Writer::from_writer(&mut text), true, "base", &rows).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().next(), Some("time_s,seed,variant,measure,unit,jurisdiction,node,kind,by,value"));
        assert!(text.contains("1.5,7,base,operation_ms,ms,FR,,write,,12.25\n"), "{text}");
    }

    #[test]
    fn what_is_no_table_is_told() {
        assert!(run_of(b"PAR1 nothing PAR1").is_err());
        assert!(read(b"no".to_vec()).is_err());
    }
}
