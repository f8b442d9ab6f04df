// Part of store/store.h.
// Results that no longer count: damaged ones, and those of a worker nobody trusts any more. They
// move to the table `aside`, where people may look at them; the shards are open again.
#include <cerrno>
#include <cstdio>

#include "schemas/error.h"
#include "store/impl.h"

namespace headcount::store {

// `number` counts a shard's results from 0, and "any" reads number 0: the others move up.
void Store::Impl::move_aside(const ResultPlace& place, const std::string& why) {
  writing(
      "INSERT INTO aside (shard, tag, hash, worker, device, seconds, attempt, at_ms, data, "
      "why, aside_ms) SELECT shard, tag, hash, worker, device, seconds, attempt, at_ms, data, "
      "?3, ?4 FROM result WHERE shard = ?1 AND tag = ?2")
      ->bind(place.shard)
      .bind(place.tag)
      .bind_text(why)
      .bind(now_ms())
      .run();
  writing("DELETE FROM result WHERE shard = ? AND tag = ?")
      ->bind(place.shard)
      .bind(place.tag)
      .run();
  writing("UPDATE result SET number = number - 1 WHERE shard = ? AND number > ?")
      ->bind(place.shard)
      .bind(place.number)
      .run();
}

std::vector<DamagedResult> Store::damaged(StageId stage) const {
  std::vector<DamagedResult> found;
  auto s = impl_->prepared(
      "SELECT r.hash, r.data, shard.key, tag.text FROM stage_shard s JOIN tag wanted ON wanted.id "
      "= s.tag JOIN result r ON r.shard = s.shard AND (r.tag = s.tag OR (wanted.text = 'any' AND "
      "r.number = 0)) JOIN shard ON shard.id = s.shard JOIN tag ON tag.id = r.tag WHERE s.stage = "
      "? ORDER BY s.number");
  s->bind(stage);
  while (s->step()) {
    const std::string damage = stored_bytes(impl_->directory, *s, 0, 1).damage;
    if (damage.empty()) continue;
    const ShardKey key = digest_from_bytes(s->blob(2));
    found.push_back({.key = key, .tag = s->text(3), .what = damage_text(key, s->text(3), damage)});
  }
  return found;
}

void Store::set_aside(const ShardKey& key, const std::string& tag, const std::string& why) {
  ResultPlace place;
  {
    auto s = impl_->prepared(
        "SELECT r.shard, r.tag, r.number, r.hash, r.data FROM result r WHERE r.shard = (SELECT id "
        "FROM shard WHERE key = ?) AND r.tag = (SELECT id FROM tag WHERE text = ?)");
    if (!s->bind_blob(as_bytes(key)).bind_text(tag).step()) return;
    place = {.shard = s->integer(0), .tag = s->integer(1), .number = s->integer(2)};
    // A damaged file leaves its name to the one that will be computed.
    if (s->null(4) && !stored_bytes(impl_->directory, *s, 3, 4).damage.empty()) {
      const std::string path = result_path(impl_->directory, digest_from_bytes(s->blob(3)));
      if (std::rename(path.c_str(), (path + ".damaged").c_str()) != 0 && errno != ENOENT)
        throw Error("cannot rename " + path + ", which is damaged: check its folder's permissions");
    }
  }
  impl_->move_aside(place, why);
}

std::vector<ShardKey> Store::withdraw(const std::string& worker, const std::string& why) {
  std::vector<ShardKey> keys;
  std::vector<ResultPlace> places;
  {
    auto s = impl_->prepared(
        "SELECT r.shard, r.tag, r.number, shard.key FROM result r JOIN shard ON shard.id = r.shard "
        "WHERE r.worker = (SELECT id FROM worker WHERE public_key = ?) ORDER BY r.shard, r.number "
        "DESC");
    s->bind_text(worker);
    while (s->step()) {
      places.push_back({.shard = s->integer(0), .tag = s->integer(1), .number = s->integer(2)});
      keys.push_back(digest_from_bytes(s->blob(3)));
    }
  }
  for (const ResultPlace& place : places) {
    impl_
        ->writing(
            "UPDATE stage SET n_withdrawn = n_withdrawn + 1 WHERE state = 'finished' AND id IN "
            "(SELECT s.stage FROM stage_shard s JOIN tag ON tag.id = s.tag WHERE s.shard = ?1 AND "
            "(s.tag = ?2 OR (tag.text = 'any' AND ?3 = 0)))")
        ->bind(place.shard)
        .bind(place.tag)
        .bind(place.number)
        .run();
    impl_->move_aside(place, why);
  }
  return keys;
}

}  // namespace headcount::store
