// Part of store/store.h.
// Attempts, results, quarantine, alarms.
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "schemas/error.h"
#include "schemas/new_file.h"
#include "schemas/try_again.h"
#include "store/impl.h"

namespace headcount::store {
namespace {

constexpr const char* kAttemptColumns =
    "SELECT shard.key, a.attempt, w.public_key, a.outcome, a.message, a.device, a.seconds, "
    "a.at_ms, tag.text, a.suspect FROM attempt a JOIN shard ON shard.id = a.shard JOIN worker w ON "
    "w.id = "
    "a.worker LEFT JOIN tag ON tag.id = a.tag";

std::vector<AttemptRow> read_attempts(Statement& s) {
  std::vector<AttemptRow> rows;
  while (s.step()) {
    rows.push_back({.key = digest_from_bytes(s.blob(0)),
                    .attempt = s.integer(1),
                    .worker = s.text(2),
                    .tag = s.null(8) ? "" : s.text(8),
                    .outcome = s.text(3),
                    .message = s.text(4),
                    .device = s.text(5),
                    .seconds = s.number(6),
                    .suspect = s.integer(9) != 0,
                    .at = iso_time(s.integer(7))});
  }
  return rows;
}

// Whole and on disk, and so is its folder, before the row that names it commits.
void write_result_file(const std::string& directory, const Digest& hash, std::string_view bytes) {
  constexpr const char* kIntact = "; everything recorded so far is intact";
  const std::string folder = directory + "/results";
  try {
    make_private_folder(folder);
    write_file(result_path(directory, hash), bytes, Readers::kOwner);
    sync_folder_of(folder);
  } catch (const TryAgain& error) {
    throw TryAgain(error.what() + std::string(kIntact));
  } catch (const Error& error) {
    throw Error(error.what() + std::string(kIntact));
  }
}

}  // namespace

std::string result_path(const std::string& directory, const Digest& hash) {
  return directory + "/results/" + to_hex(hash);
}

std::string short_hex(const Digest& digest) { return to_hex(digest).substr(0, 12); }

StoredBytes stored_bytes(const std::string& directory, const Statement& row, int hash_column,
                         int data_column) {
  if (row.blob(hash_column).size() != Digest{}.bytes.size())
    return {.bytes = {}, .damage = "its hash is not one"};
  const Digest hash = digest_from_bytes(row.blob(hash_column));
  StoredBytes stored;
  if (row.null(data_column)) {
    const std::string path = result_path(directory, hash);
    std::ifstream in(path, std::ios::binary);
    // Only a file that is not there is lost; one that cannot be opened now may be later.
    if (!in && errno == ENOENT) return {.bytes = {}, .damage = "its file " + path + " is missing"};
    std::ostringstream bytes;
    bytes << in.rdbuf();
    if (!in) throw Error("the recorded result " + path + " cannot be read: check the disk");
    stored.bytes = std::move(bytes).str();
  } else {
    stored.bytes = row.blob(data_column);
  }
  if (sha256(stored.bytes) != hash)
    stored.damage = "its bytes have the hash " + short_hex(sha256(stored.bytes)) +
                    ", recorded was " + short_hex(hash);
  return stored;
}

void Store::add_attempt(const ShardKey& key, int64_t attempt, const std::string& worker,
                        const std::string& tag) {
  const int64_t tag_id = impl_->tag_id(tag);
  const int64_t worker_id = impl_->worker_id(worker);
  const int64_t shard = impl_->shard_id(key);
  HC_CHECK(shard != 0);
  impl_
      ->writing(
          "INSERT INTO attempt (shard, attempt, worker, outcome, message, device, seconds, at_ms, "
          "tag) VALUES (?, ?, ?, 'granted', '', '', 0, ?, ?) ON CONFLICT DO UPDATE SET outcome = "
          "'granted'")
      ->bind(shard)
      .bind(attempt)
      .bind(worker_id)
      .bind(now_ms())
      .bind(tag_id)
      .run();
}

void Store::end_attempt(const AttemptRow& ended) {
  impl_
      ->writing(
          "UPDATE attempt SET outcome = ?, message = ?, device = ?, seconds = ?, suspect = ? WHERE "
          "shard = ? AND attempt = ?")
      ->bind_text(ended.outcome)
      .bind_text(ended.message)
      .bind_text(ended.device)
      .bind(ended.seconds)
      .bind(static_cast<int64_t>(ended.suspect))
      .bind(impl_->shard_id(ended.key))
      .bind(ended.attempt)
      .run();
}

int64_t Store::last_attempt(const ShardKey& key) const {
  auto s = impl_->prepared("SELECT coalesce(max(attempt), 0) FROM attempt WHERE shard = ?");
  s->bind(impl_->shard_id(key)).step();
  return s->integer(0);
}

std::vector<int64_t> Store::attempts(const ShardKey& key, const std::string& worker,
                                     const std::string& tag) const {
  auto s = impl_->prepared(
      "SELECT a.attempt FROM attempt a JOIN worker w ON w.id = a.worker JOIN tag ON tag.id = a.tag "
      "WHERE a.shard = ? AND w.public_key = ? AND tag.text = ? ORDER BY a.attempt");
  s->bind(impl_->shard_id(key)).bind_text(worker).bind_text(tag);
  std::vector<int64_t> numbers;
  while (s->step()) numbers.push_back(s->integer(0));
  return numbers;
}

std::vector<AttemptRow> Store::open_attempts() const {
  auto s = impl_->prepared(std::string(kAttemptColumns) +
                           " WHERE a.outcome = 'granted' ORDER BY a.shard, a.attempt");
  return read_attempts(*s);
}

std::vector<AttemptRow> Store::attempts(const ShardKey& key) const {
  auto s = impl_->prepared(std::string(kAttemptColumns) + " WHERE a.shard = ? ORDER BY a.attempt");
  s->bind(impl_->shard_id(key));
  return read_attempts(*s);
}

std::vector<AttemptRow> Store::ended_attempts(const ShardKey& key) const {
  auto s = impl_->prepared(
      std::string(kAttemptColumns) +
      " WHERE a.shard = ? AND a.outcome <> 'granted' AND a.attempt > coalesce((SELECT f.attempt "
      "FROM forgiven f WHERE f.shard = a.shard), 0) ORDER BY a.attempt");
  s->bind(impl_->shard_id(key));
  return read_attempts(*s);
}

Recorded Store::record(const ResultRow& row, std::string_view encoded_result) {
  const int64_t tag = impl_->tag_id(row.tag);
  const int64_t worker = impl_->worker_id(row.worker);
  const int64_t shard = impl_->shard_id(row.key);
  HC_CHECK(shard != 0);
  const bool beside = encoded_result.size() > kInDatabaseBytes && !impl_->directory.empty();
  impl_->written_bytes += static_cast<int64_t>(encoded_result.size()) * (beside ? 1 : 2);
  {
    auto known = impl_->prepared(
        "SELECT r.hash, w.public_key, w.name FROM result r JOIN worker w ON w.id = r.worker WHERE "
        "r.shard = ? AND r.tag = ?");
    if (known->bind(shard).bind(tag).step()) {
      const Digest hash = digest_from_bytes(known->blob(0));
      if (hash == row.hash) return Recorded::kSame;
      const std::string first = known->text(2).empty() ? known->text(1) : known->text(2);
      auto named = impl_->prepared("SELECT name FROM worker WHERE id = ?");
      named->bind(worker).step();
      const std::string second = named->text(0).empty() ? row.worker : named->text(0);
      // Without its hash: however many others a worker sends, they are one alarm.
      alarm("shard " + short_hex(row.key) + " under tag " + row.tag + ": worker " + first +
            " computed " + short_hex(hash) + ", worker " + second +
            " something else (the first is kept): one of the two machines does not compute what "
            "its tag says");
      return Recorded::kDiffers;
    }
  }
  if (beside) write_result_file(impl_->directory, row.hash, encoded_result);
  auto insert = impl_->writing(
      "INSERT INTO result (shard, tag, number, hash, worker, device, seconds, attempt, at_ms, "
      "data) VALUES (?1, ?2, (SELECT count(*) FROM "
      "result WHERE shard = ?1), ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
  insert->bind(shard)
      .bind(tag)
      .bind_blob(as_bytes(row.hash))
      .bind(worker)
      .bind_text(row.device)
      .bind(row.seconds)
      .bind(row.attempt)
      .bind(now_ms());
  if (beside) {
    insert->bind_null();
  } else {
    insert->bind_blob(encoded_result);
  }
  insert->run();
  return Recorded::kNew;
}

std::string damage_text(const ShardKey& key, const std::string& tag, const std::string& damage) {
  return "the stored result of shard " + short_hex(key) + " under tag " + tag + " is damaged (" +
         damage + ")";
}

namespace {
// The result under a tag, or under "any" the first recorded one.
constexpr const char* kOfTag =
    " FROM result r JOIN tag ON tag.id = r.tag WHERE r.shard = ?1 AND (tag.text = ?2 OR (?2 = "
    "'any' AND r.number = 0))";
}  // namespace

std::optional<Digest> Store::recorded(const ShardKey& key, const std::string& tag) const {
  auto s = impl_->prepared(std::string("SELECT r.hash") + kOfTag);
  if (!s->bind(impl_->shard_id(key)).bind_text(tag).step()) return std::nullopt;
  return digest_from_bytes(s->blob(0));
}

std::optional<Result> Store::result(const ShardKey& key, const std::string& tag) const {
  auto s = impl_->prepared(std::string("SELECT r.hash, r.data") + kOfTag);
  if (!s->bind(impl_->shard_id(key)).bind_text(tag).step()) return std::nullopt;
  const StoredBytes stored = stored_bytes(impl_->directory, *s, 0, 1);
  if (!stored.damage.empty()) throw Damaged(damage_text(key, tag, stored.damage));
  return decode_result(stored.bytes);
}

int64_t Store::n_results() const {
  auto s = impl_->prepared("SELECT count(*) FROM result");
  s->step();
  return s->integer(0);
}

void Store::quarantine(const ShardKey& key, const std::string& evidence) {
  impl_
      ->writing(
          "INSERT INTO quarantine VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET evidence = "
          "excluded.evidence")
      ->bind(impl_->shard_id(key))
      .bind_text(evidence)
      .bind(now_ms())
      .run();
}

void Store::release_quarantine(const ShardKey& key) {
  const int64_t shard = impl_->shard_id(key);
  impl_->writing("DELETE FROM quarantine WHERE shard = ?")->bind(shard).run();
  impl_
      ->writing(
          "INSERT INTO forgiven SELECT ?1, coalesce(max(attempt), 0) FROM attempt WHERE shard = ?1 "
          "ON CONFLICT DO UPDATE SET attempt = "
          "excluded.attempt")
      ->bind(shard)
      .run();
}

std::vector<std::pair<ShardKey, std::string>> Store::evidence(StageId stage) const {
  std::vector<std::pair<ShardKey, std::string>> rows;
  auto s = impl_->prepared(
      "SELECT shard.key, q.evidence FROM stage_shard s JOIN quarantine q ON q.shard = s.shard JOIN "
      "shard ON shard.id = "
      "s.shard WHERE s.stage = ? ORDER BY s.number");
  s->bind(stage);
  while (s->step()) rows.emplace_back(digest_from_bytes(s->blob(0)), s->text(1));
  return rows;
}

void Store::alarm(const std::string& text) {
  impl_
      ->writing(
          "INSERT INTO alarm (text, at_ms) SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM alarm "
          "WHERE "
          "text = ?1)")
      ->bind_text(text)
      .bind(now_ms())
      .run();
}

std::vector<std::string> Store::alarms() const {
  std::vector<std::string> rows;
  auto s = impl_->prepared("SELECT text FROM alarm ORDER BY id");
  while (s->step()) rows.push_back(s->text(0));
  return rows;
}

}  // namespace headcount::store
