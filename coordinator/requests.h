// What clients may ask a running coordinator: one Request, one Reply whose json is described here.
// ID texts are an id, a sweep's name, a unique prefix of its spec's digest (hex, at least 4), or
// "last"; a name or "last" means the newest.
#pragma once

#include <optional>
#include <string_view>

#include "cluster/transport/keys.h"

namespace headcount::coordinator {

// clang-format off
//   verb              role    fields              json
//   coordinator.info  client  -                   {"version", "pid", "address", "state", "restored",
//                                                 "reading": [{"file", "doing"}], "waits" (why
//                                                 nothing can be recorded now; "": it can),
//                                                 "workers", "sweeps": {state: n}, "results",
//                                                 "records", "commits", "grant_p99_ms" (from room
//                                                 heard to grant sent), "commit_p99_ms",
//                                                 "unfinished", "uptime_s", "cpu_s", "rss_bytes",
//                                                 "log"}
//   coordinator.stop  admin   -                   {}
//   sweep.submit      client  text, file, root,   {"id", "name", "digest", "shards", "continued"};
//                             continue (bool)     the spec's problems, one a line, are the error.
//                                                 continue: an unfinished sweep of equal digest goes
//                                                 on instead of a new one
//   sweep.list        client  -                   list_json (view.h)
//   sweep.status      client  id                  a live SweepStatus (sweep_status.h)
//   sweep.cancel, sweep.pause, sweep.resume, sweep.retry (quarantined shards, withdrawn results)
//                     client  id                  {"id", "state"}
//   sweep.explain     client  id                  {"lines": [what keeps it from going on]}
//   results           client  id, stage (""=all)  to_json of its tables; a running stage's from
//                                                 what is there
//   worker.list       client  -                   its WorkerStatuses (sweep_status.h)
//   worker.drain      admin   name                {"name"}
//   key.list          admin   -                   {"keys": [{"name", "role", "public_key",
//                                                 "created_at"}]}
//   key.create        admin   role, name,         {"key_file": {"role", "name", "address",
//                             address (optional)  "coordinator_public", "public_key",
//                                                 "secret_key"}}
//   key.revoke        admin   name,               {"name", "set_aside": n}; set_aside: also what it
//                             set_aside (bool)    delivered no longer counts (n results)
//   bench.submit      admin   shards              {"id"}: a sweep of so many noop shards, one stored
//                                                 row each
// clang-format on

/// The least role a verb needs (worker keys may ask nothing); nullopt: no such verb.
std::optional<transport::Role> role_needed(std::string_view verb);

}  // namespace headcount::coordinator
