// Part of store/store.h.
// Sweeps, stages, bindings and the shards of planned stages.
#include "schemas/error.h"
#include "store/impl.h"

namespace headcount::store {
namespace {

constexpr const char* kSweepColumns =
    "SELECT id, name, digest, file, root, text, state, created_ms, finished_ms, priority FROM "
    "sweep";

SweepRow read_sweep(const Statement& s) {
  SweepRow row{.id = s.integer(0),
               .name = s.text(1),
               .digest = digest_from_bytes(s.blob(2)),
               .file = s.text(3),
               .root = s.text(4),
               .text = s.text(5),
               .state = s.text(6),
               .priority = s.integer(9),
               .created_at = iso_time(s.integer(7)),
               .finished_at = {}};
  if (!s.null(8)) row.finished_at = iso_time(s.integer(8));
  return row;
}

std::optional<int64_t> optional_integer(const Statement& s, int column) {
  if (s.null(column)) return std::nullopt;
  return s.integer(column);
}

}  // namespace

SweepId Store::add_sweep(const SweepRow& sweep, const std::vector<StageRow>& stages) {
  impl_
      ->writing(
          "INSERT INTO sweep (name, digest, file, root, text, state, created_ms, priority) VALUES "
          "(?, ?, ?, ?, ?, ?, ?, ?)")
      ->bind_text(sweep.name)
      .bind_blob(as_bytes(sweep.digest))
      .bind_text(sweep.file)
      .bind_text(sweep.root)
      .bind_text(sweep.text)
      .bind_text(sweep.state)
      .bind(now_ms())
      .bind(sweep.priority)
      .run();
  const SweepId id = sqlite3_last_insert_rowid(impl_->connection->raw());
  for (const auto& stage : stages) {
    impl_
        ->writing(
            "INSERT INTO stage (sweep, number, name, kind, state, n_shards, reason) VALUES (?, ?, "
            "?, ?, ?, ?, ?)")
        ->bind(id)
        .bind(static_cast<int64_t>(stage.number))
        .bind_text(stage.name)
        .bind_text(stage.kind)
        .bind_text(stage.state)
        .bind(stage.n_shards)
        .bind_text(stage.reason)
        .run();
  }
  return id;
}

std::vector<SweepRow> Store::sweeps() const {
  std::vector<SweepRow> rows;
  auto statement = impl_->prepared(std::string(kSweepColumns) + " ORDER BY id");
  while (statement->step()) rows.push_back(read_sweep(*statement));
  return rows;
}

std::optional<SweepRow> Store::sweep(SweepId id) const {
  auto statement = impl_->prepared(std::string(kSweepColumns) + " WHERE id = ?");
  if (!statement->bind(id).step()) return std::nullopt;
  return read_sweep(*statement);
}

std::vector<StageRow> Store::stages(SweepId sweep) const {
  std::vector<StageRow> rows;
  auto s = impl_->prepared(
      "SELECT id, sweep, number, name, kind, state, n_shards, reason, n_cached, n_missing, "
      "n_withdrawn, micro_batch, n_done, n_quarantined FROM stage WHERE sweep = ? ORDER BY number");
  s->bind(sweep);
  while (s->step()) {
    rows.push_back({.id = s->integer(0),
                    .sweep = s->integer(1),
                    .number = static_cast<int>(s->integer(2)),
                    .name = s->text(3),
                    .kind = s->text(4),
                    .state = s->text(5),
                    .n_shards = s->integer(6),
                    .reason = s->text(7),
                    .n_cached = s->integer(8),
                    .n_missing = s->integer(9),
                    .n_withdrawn = s->integer(10),
                    .n_done = optional_integer(*s, 12),
                    .n_quarantined = optional_integer(*s, 13),
                    .micro_batch = s->integer(11)});
  }
  return rows;
}

void Store::set_sweep_state(SweepId sweep, const std::string& state) {
  auto statement = impl_->writing("UPDATE sweep SET state = ?, finished_ms = ? WHERE id = ?");
  statement->bind_text(state);
  const bool ended = state == "finished" || state == "cancelled" || state == "stopped";
  if (ended) {
    statement->bind(now_ms());
  } else {
    statement->bind_null();
  }
  statement->bind(sweep).run();
}

void Store::set_stage_state(StageId stage, const std::string& state, const std::string& reason) {
  impl_->writing("UPDATE stage SET state = ?, reason = ? WHERE id = ?")
      ->bind_text(state)
      .bind_text(reason)
      .bind(stage)
      .run();
}

void Store::set_stage_cached(StageId stage, int64_t n_cached) {
  impl_->writing("UPDATE stage SET n_cached = ? WHERE id = ?")->bind(n_cached).bind(stage).run();
}

void Store::set_stage_missing(StageId stage, int64_t n_missing) {
  impl_->writing("UPDATE stage SET n_missing = ? WHERE id = ?")->bind(n_missing).bind(stage).run();
}

void Store::set_stage_counts(StageId stage, const StageCounts& counts) {
  impl_->writing("UPDATE stage SET n_done = ?, n_quarantined = ? WHERE id = ?")
      ->bind(counts.done)
      .bind(counts.quarantined)
      .bind(stage)
      .run();
}

void Store::set_stage_micro_batch(StageId stage, int64_t micro_batch) {
  impl_->writing("UPDATE stage SET micro_batch = ? WHERE id = ?")
      ->bind(micro_batch)
      .bind(stage)
      .run();
  clear_shards(stage);
}

void Store::bind_model(SweepId sweep, const std::string& model, const std::string& tag) {
  impl_
      ->writing(
          "INSERT INTO binding VALUES (?, ?, ?) ON CONFLICT (sweep, model) DO UPDATE SET tag = "
          "excluded.tag")
      ->bind(sweep)
      .bind_text(model)
      .bind_text(tag)
      .run();
}

std::vector<Store::Binding> Store::bindings(SweepId sweep) const {
  std::vector<Binding> rows;
  auto s = impl_->prepared("SELECT model, tag FROM binding WHERE sweep = ? ORDER BY model");
  s->bind(sweep);
  while (s->step()) rows.push_back({s->text(0), s->text(1)});
  return rows;
}

int64_t Store::Impl::tag_id(const std::string& tag) {
  if (const auto found = tags.find(tag); found != tags.end()) return found->second;
  writing("INSERT INTO tag (text) VALUES (?) ON CONFLICT DO NOTHING")->bind_text(tag).run();
  auto statement = prepared("SELECT id FROM tag WHERE text = ?");
  statement->bind_text(tag).step();
  return tags[tag] = statement->integer(0);
}

int64_t Store::Impl::worker_id(const std::string& worker) {
  if (const auto found = workers.find(worker); found != workers.end()) return found->second;
  writing("INSERT INTO worker (public_key) VALUES (?) ON CONFLICT DO NOTHING")
      ->bind_text(worker)
      .run();
  auto statement = prepared("SELECT id FROM worker WHERE public_key = ?");
  statement->bind_text(worker).step();
  return workers[worker] = statement->integer(0);
}

void Store::name_worker(const std::string& public_key, const std::string& name) {
  const int64_t id = impl_->worker_id(public_key);
  impl_->writing("UPDATE worker SET name = ? WHERE id = ? AND name <> ?")
      ->bind_text(name)
      .bind(id)
      .bind_text(name)
      .run();
}

std::vector<std::string> Store::workers_named(const std::string& name) const {
  std::vector<std::string> keys;
  auto s = impl_->prepared("SELECT public_key FROM worker WHERE name = ? ORDER BY id");
  s->bind_text(name);
  while (s->step()) keys.push_back(s->text(0));
  return keys;
}

int64_t Store::Impl::shard_id(const ShardKey& key) {
  if (const auto found = shards.find(key); found != shards.end()) return found->second;
  auto statement = prepared("SELECT id FROM shard WHERE key = ?");
  if (!statement->bind_blob(as_bytes(key)).step()) return 0;
  know(key, statement->integer(0));
  return statement->integer(0);
}

void Store::Impl::know(const ShardKey& key, int64_t shard) {
  if (shards.size() == kShardsKnown) shards.clear();
  shards[key] = shard;
}

void Store::add_shards(StageId stage, int64_t first, const std::vector<ShardKey>& keys,
                       const std::string& tag) {
  const int64_t tag_id = impl_->tag_id(tag);
  for (size_t i = 0; i < keys.size(); ++i) {
    impl_->writing("INSERT INTO shard (key) VALUES (?) ON CONFLICT DO NOTHING")
        ->bind_blob(as_bytes(keys[i]))
        .run();
    const int64_t shard = sqlite3_changes(impl_->connection->raw()) == 1
                              ? sqlite3_last_insert_rowid(impl_->connection->raw())
                              : impl_->shard_id(keys[i]);
    impl_->writing("INSERT INTO stage_shard VALUES (?, ?, ?, ?)")
        ->bind(stage)
        .bind(first + static_cast<int64_t>(i))
        .bind(shard)
        .bind(tag_id)
        .run();
  }
}

void Store::clear_shards(StageId stage) {
  impl_->writing("DELETE FROM stage_shard WHERE stage = ?")->bind(stage).run();
}

int64_t Store::n_planned(StageId stage) const {
  auto statement =
      impl_->prepared("SELECT coalesce(max(number) + 1, 0) FROM stage_shard WHERE stage = ?");
  statement->bind(stage).step();
  return statement->integer(0);
}

ShardKey Store::shard_key(StageId stage, int64_t index) const {
  auto s = impl_->prepared(
      "SELECT shard.key, shard.id FROM stage_shard s JOIN shard ON shard.id = s.shard WHERE "
      "s.stage = ? AND s.number = ?");
  if (!s->bind(stage).bind(index).step()) {
    throw Error("stage " + std::to_string(stage) + " has no shard " + std::to_string(index) +
                " in the database");
  }
  const ShardKey key = digest_from_bytes(s->blob(0));
  impl_->know(key, s->integer(1));
  return key;
}

std::vector<std::pair<StageId, int64_t>> Store::places(const ShardKey& key) const {
  std::vector<std::pair<StageId, int64_t>> rows;
  auto s = impl_->prepared(
      "SELECT stage, number FROM stage_shard WHERE shard = ? ORDER BY stage, number");
  s->bind(impl_->shard_id(key));
  while (s->step()) rows.emplace_back(s->integer(0), s->integer(1));
  return rows;
}

std::vector<TagRange> Store::tag_ranges(StageId stage) const {
  std::vector<TagRange> ranges;
  auto s = impl_->prepared(
      "SELECT s.number, tag.text FROM stage_shard s JOIN tag ON tag.id = s.tag WHERE s.stage = ? "
      "ORDER BY s.number");
  s->bind(stage);
  while (s->step()) {
    const int64_t number = s->integer(0);
    std::string tag = s->text(1);
    if (ranges.empty() || ranges.back().tag != tag)
      ranges.push_back({number, number, std::move(tag)});
    ranges.back().end = number + 1;
  }
  return ranges;
}

namespace {
constexpr const char* kDone =
    " FROM stage_shard s JOIN tag ON tag.id = s.tag WHERE s.stage = ? AND EXISTS (SELECT 1 FROM "
    "result r WHERE r.shard = s.shard AND "
    "(r.tag = s.tag OR tag.text = 'any'))";
}

std::vector<int64_t> Store::done(StageId stage) const {
  std::vector<int64_t> rows;
  auto s = impl_->prepared(std::string("SELECT s.number") + kDone + " ORDER BY s.number");
  s->bind(stage);
  while (s->step()) rows.push_back(s->integer(0));
  return rows;
}

std::vector<int64_t> Store::quarantined(StageId stage) const {
  std::vector<int64_t> rows;
  auto s = impl_->prepared(
      "SELECT s.number FROM stage_shard s JOIN quarantine q ON q.shard = s.shard WHERE s.stage = ? "
      "ORDER BY s.number");
  s->bind(stage);
  while (s->step()) rows.push_back(s->integer(0));
  return rows;
}

StageCounts Store::counts(StageId stage) const {
  StageCounts counts;
  counts.planned = n_planned(stage);
  auto s = impl_->prepared(std::string("SELECT count(*)") + kDone);
  s->bind(stage).step();
  counts.done = s->integer(0);
  auto q = impl_->prepared(
      "SELECT count(*) FROM quarantine q JOIN stage_shard s ON s.shard = q.shard WHERE s.stage = "
      "?");
  q->bind(stage).step();
  counts.quarantined = q->integer(0);
  return counts;
}

}  // namespace headcount::store
