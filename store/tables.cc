// Part of store/store.h.
// Finished tables: whole as CBOR (what `results` prints, byte for byte), and as rows behind the
// views.
#include <cmath>
#include <iterator>

#include "schemas/cbor.h"
#include "schemas/error.h"
#include "store/impl.h"

namespace headcount::store {
namespace {

void put(cbor::Writer& w, const Cell& cell) {
  if (const auto* integer = std::get_if<int64_t>(&cell)) {
    w.integer(*integer);
  } else if (const auto* number = std::get_if<double>(&cell)) {
    w.number(*number);
  } else if (const auto* text = std::get_if<std::string>(&cell)) {
    w.text(*text);
  } else if (const auto* list = std::get_if<JsonList>(&cell)) {
    w.array(1);
    w.text(list->json);
  } else {
    w.array(0);  // our CBOR has no null
  }
}

Cell get_cell(cbor::Reader& r) {
  switch (r.peek()) {
    case cbor::Type::kInteger:
      return r.integer();
    case cbor::Type::kNumber:
      return r.number();
    case cbor::Type::kText:
      return std::string(r.text());
    default:
      if (r.array() == 0) return {};
      return JsonList{std::string(r.text())};
  }
}

void put(cbor::Writer& w, const std::vector<std::string>& texts) {
  w.array(texts.size());
  for (const auto& text : texts) w.text(text);
}

std::vector<std::string> get_texts(cbor::Reader& r) {
  std::vector<std::string> texts;
  for (uint64_t n = r.array(); n > 0; --n) texts.emplace_back(r.text());
  return texts;
}

void put(cbor::Writer& w, const std::vector<std::vector<Cell>>& rows) {
  w.array(rows.size());
  for (const auto& row : rows) {
    w.array(row.size());
    for (const auto& cell : row) put(w, cell);
  }
}

std::vector<std::vector<Cell>> get_rows(cbor::Reader& r) {
  std::vector<std::vector<Cell>> rows;
  for (uint64_t n = r.array(); n > 0; --n) {
    auto& row = rows.emplace_back();
    for (uint64_t m = r.array(); m > 0; --m) row.push_back(get_cell(r));
  }
  return rows;
}

/// Columns of table_row that have a place of their own; every other one goes into `point`.
constexpr const char* kOwn[] = {
    "layer", "head", "mask_prob", "signed_mean", "metric",   "which", "k",     "prune_seed",
    "value", "se",   "low",       "high",        "n_orders", "n",     "model", "dataset"};

bool is_own(const std::string& column) {
  for (const char* own : kOwn) {
    if (column == own) return true;
  }
  return false;
}

const Cell* cell_of(const std::vector<std::string>& columns, const std::vector<Cell>& row,
                    std::string_view name) {
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i] == name) return &row[i];
  }
  return nullptr;
}

template <class Skip>
std::string point_json(const std::vector<std::string>& columns, const std::vector<Cell>& row,
                       Skip skip) {
  std::string json = "{";
  for (size_t i = 0; i < columns.size(); ++i) {
    if (skip(columns[i])) continue;
    json += (json.size() > 1 ? ", " : "") + to_json(Field(columns[i])) + ": " + json_of(row[i]);
  }
  return json + "}";
}

/// What SQLite makes of a cell of a column of its own: NaN becomes NULL, and a column's affinity
/// may turn whole numbers into floating ones.
bool is_kept(const Cell& kept, const Cell* given) {
  const auto number = [](const Cell& cell) -> std::optional<double> {
    if (const auto* integer = std::get_if<int64_t>(&cell)) return static_cast<double>(*integer);
    if (const auto* value = std::get_if<double>(&cell); value != nullptr && !std::isnan(*value))
      return *value;
    return std::nullopt;
  };
  const auto text = [](const Cell& cell) -> std::optional<std::string> {
    if (const auto* value = std::get_if<std::string>(&cell)) return *value;
    if (const auto* list = std::get_if<JsonList>(&cell)) return list->json;
    return std::nullopt;
  };
  const Cell cell = given != nullptr ? *given : Cell{};
  return number(kept) == number(cell) && text(kept) == text(cell);
}

bool is_n_missing(const std::string& column) { return column == "n_missing"; }

}  // namespace

std::string Store::Impl::rows_differ(StageId stage, const Table& table) {
  if (table.numerics_version == 0) return "";  // rows of an older database have fewer columns
  const std::string why = "the rows of stage " + std::to_string(stage) +
                          " behind the views are not those of its stored table: what `headcount "
                          "results` prints is right, `query` is not";
  {
    auto s = prepared(
        "SELECT layer, head, mask_prob, signed_mean, metric, \"which\", k, prune_seed, value, se, "
        "low, high, n_orders, n, model, dataset, point FROM table_row WHERE stage = ? ORDER BY "
        "number");
    s->bind(stage);
    for (const auto& row : table.rows) {
      if (!s->step() ||
          s->text(static_cast<int>(std::ssize(kOwn))) != point_json(table.columns, row, is_own))
        return why;
      for (int i = 0; i < std::ssize(kOwn); ++i) {
        if (!is_kept(s->cell(i), cell_of(table.columns, row, kOwn[i]))) return why;
      }
    }
    if (s->step()) return why;
  }
  auto s =
      prepared("SELECT n_missing, point FROM table_diagnostic WHERE stage = ? ORDER BY number");
  s->bind(stage);
  for (const auto& row : table.diagnostics) {
    if (!s->step() || s->text(1) != point_json(table.diagnostic_columns, row, is_n_missing) ||
        !is_kept(s->cell(0), cell_of(table.diagnostic_columns, row, "n_missing")))
      return why;
  }
  return s->step() ? why : "";
}

void Store::put_table(StageId stage, const Table& table) {
  cbor::Writer w;
  w.array(8);
  w.text(table.stage);
  w.text(table.kind);
  put(w, table.columns);
  put(w, table.rows);
  put(w, table.diagnostic_columns);
  put(w, table.diagnostics);
  put(w, table.warnings);
  w.integer(table.numerics_version);
  const Digest hash = sha256(w.out);
  impl_->written_bytes += 4 * static_cast<int64_t>(w.out.size());  // as rows of the views too
  impl_
      ->writing(
          "INSERT INTO stage_table (stage, data, hash) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
          "data = excluded.data, hash = excluded.hash")
      ->bind(stage)
      .bind_blob(w.out)
      .bind_blob(as_bytes(hash))
      .run();
  impl_->writing("DELETE FROM table_row WHERE stage = ?")->bind(stage).run();
  impl_->writing("DELETE FROM table_diagnostic WHERE stage = ?")->bind(stage).run();
  int64_t number = 0;
  for (const auto& row : table.rows) {
    HC_CHECK(row.size() == table.columns.size());
    auto insert = impl_->writing(
        "INSERT INTO table_row (stage, number, layer, head, mask_prob, signed_mean, metric, "
        "\"which\", k, prune_seed, value, se, low, high, n_orders, n, model, dataset, point) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    insert->bind(stage).bind(number++);
    for (const char* own : kOwn) {
      const Cell* cell = cell_of(table.columns, row, own);
      if (cell != nullptr) {
        insert->bind_cell(*cell);
      } else {
        insert->bind_null();
      }
    }
    const std::string point = point_json(table.columns, row, is_own);
    insert->bind_text(point).run();
  }
  number = 0;
  for (const auto& row : table.diagnostics) {
    HC_CHECK(row.size() == table.diagnostic_columns.size());
    const Cell* n_missing = cell_of(table.diagnostic_columns, row, "n_missing");
    const std::string point = point_json(table.diagnostic_columns, row, is_n_missing);
    impl_->writing("INSERT INTO table_diagnostic VALUES (?, ?, ?, ?)")
        ->bind(stage)
        .bind(number++)
        .bind_cell(n_missing != nullptr ? *n_missing : Cell{})
        .bind_text(point)
        .run();
  }
}

void Store::clear_table(StageId stage) {
  for (const char* statement :
       {"DELETE FROM stage_table WHERE stage = ?", "DELETE FROM table_row WHERE stage = ?",
        "DELETE FROM table_diagnostic WHERE stage = ?",
        "UPDATE stage SET n_withdrawn = 0 WHERE id = ?"})
    impl_->writing(statement)->bind(stage).run();
}

std::optional<Table> Store::table(StageId stage) const {
  auto statement = impl_->prepared("SELECT data, hash FROM stage_table WHERE stage = ?");
  if (!statement->bind(stage).step()) return std::nullopt;
  if (as_bytes(sha256(statement->blob(0))) != statement->blob(1))
    throw Damaged("the stored table of stage " + std::to_string(stage) +
                  " is damaged (its bytes do not have the hash recorded with them)");
  cbor::Reader r(statement->blob(0), "the table of a stage");
  const uint64_t n_items = r.array();
  if (n_items != 7 && n_items != 8) r.fail("a table of another version");
  Table table;
  table.stage = r.text();
  table.kind = r.text();
  table.columns = get_texts(r);
  table.rows = get_rows(r);
  table.diagnostic_columns = get_texts(r);
  table.diagnostics = get_rows(r);
  table.warnings = get_texts(r);
  if (n_items == 8) table.numerics_version = r.integer();  // absent before database version 3
  r.end();
  return table;
}

}  // namespace headcount::store
