// What clients may ask a running coordinator: one Request, one Reply whose json is described here.
// ID texts are an id, a unique prefix of the spec's digest (hex, at least 4), a sweep's name, or
// "last"; a name or "last" means the newest.
//
//   verb               role    fields            json
//   coordinator.info   client  -                 {"version", "pid", "address", "state", "workers",
//   "sweeps": {state: n}, "results", "uptime_s", "log"} coordinator.stop   admin   - {}
//   sweep.submit       client  text, file, root  {"id", "name", "digest", "shards", "cached"} or
//   the problems as the error, one a line
//                              continue (bool)   true: an unfinished sweep of the same digest is
//                              continued instead of a new one ("continued": true)
//   sweep.list         client  -                 list_json (view.h)
//   sweep.status       client  id                status_json (view.h) plus the live members of its
//   stages and workers sweep.cancel       client  id                {"id", "state"}; likewise
//   sweep.pause, sweep.resume, sweep.retry (releases quarantined shards) sweep.explain      client
//   id                {"lines": [sentence ...]}: what keeps it from going on results client  id,
//   stage ("" all)  to_json of its tables; a running stage's from what is there worker.list client
//   -                 {"workers": [{"name", "host", "devices": [{"device", "tag"}], "state",
//   "held", "running", "done", "rate",
//                                                "last_seen_s"}]}; state: connected | draining |
//                                                lost
//   worker.drain       admin   name              {"name"}
//   key.list           admin   -                 {"keys": [{"name", "role", "public_key",
//   "created_at"}]} key.create         admin   role, name        {"key_file": {"role", "name",
//   "address", "coordinator_public", "public_key", "secret_key"}} key.revoke         admin   name
//   {"name"} bench.submit       admin   shards            {"id"}: a sweep of that many noop shards,
//   each stored as one row
#pragma once

#include <optional>
#include <string_view>

#include "cluster/transport/keys.h"

namespace headcount::coordinator {

/// The least role a verb needs (worker keys may ask nothing); nullopt: no such verb.
std::optional<transport::Role> role_needed(std::string_view verb);

}  // namespace headcount::coordinator
