// Part of coordinator/loop.h.
// Sweeps whose files are read: what is asked of the planner, and what becomes of its answers. A
// sweep of the database goes on when its own files have been read again, others do not wait for it;
// where they cannot be read it waits and is tried again. Until then what its shards are lent for
// stands as it is on disk, and the scheduler is not asked about them.
#include <algorithm>
#include <set>

#include "coordinator/loop.h"
#include "experiments/kinds/noop/noop.h"
#include "schemas/error.h"

namespace headcount::coordinator {
namespace {

bool unfinished(const std::string& state) { return state == "running" || state == "paused"; }

std::string shards_text(int64_t n) { return std::to_string(n) + (n == 1 ? " shard" : " shards"); }

std::string why_unread(const PlanDone& done) {
  return done.error.empty() ? to_string(done.prepared.problems) : done.error;
}

/// Set where the sweep's paths are confined to the directories clients may read.
std::string confined_meta(store::SweepId id) {
  return "sweep " + std::to_string(id) + " is confined";
}

}  // namespace

experiments::AllowedPaths Loop::allowed_paths(bool confined) const {
  experiments::AllowedPaths allowed{.state = options_.state};
  if (!confined) return allowed;
  allowed.within = options_.allowed_paths;
  allowed.within->push_back(options_.root.empty() ? "." : options_.root);
  return allowed;
}

// A sweep of the database as it was submitted, whoever asks for it now.
PlanJob Loop::job_of(const store::SweepRow& row) {
  return {.number = ++n_jobs_,
          .text = row.text,
          .file = row.file,
          .root = row.root,
          .allowed = allowed_paths(store_.meta(confined_meta(row.id)).has_value())};
}

void Loop::restore() {
  for (auto& attempt : store_.open_attempts())
    awaited_[attempt.key].push_back({.key = attempt.key,
                                     .attempt = attempt.attempt,
                                     .worker = std::move(attempt.worker),
                                     .tag = std::move(attempt.tag)});
  for (const auto& row : store_.sweeps()) {
    if (unfinished(row.state)) read_again(row);
  }
  release_awaited();
}

void Loop::read_again(const store::SweepRow& row) {
  if (row.text.empty()) {  // of bench(): no files to read
    admit(row.id, experiments::noop::sweep(row.id, store_.stages(row.id).at(0).n_shards));
    return;
  }
  Submission submission;
  submission.job = job_of(row);
  submission.resumes = row.id;
  unread_[row.id].job = submission.job.number;
  start(std::move(submission));
}

void Loop::start(Submission submission) {
  planner_.start(submission.job);
  submissions_.emplace(submission.job.number, std::move(submission));
}

void Loop::take_planned() {
  while (auto done = planner_.take()) {
    const auto taken = submissions_.find(done->number);
    if (taken == submissions_.end()) continue;     // it was forgotten just now
    const Submission& submission = taken->second;  // there until all is done: start_over answers it
    if (submission.resumes != 0) {
      resumed(submission.resumes, std::move(*done));
    } else if (submission.results_of != 0) {
      answer_results(submission, std::move(*done));
    } else {
      submitted(submission, std::move(*done));
    }
    submissions_.erase(taken);
  }
  std::vector<store::SweepId> due;
  for (const auto& [id, unread] : unread_) {
    if (unread.job == 0 && now() >= unread.again_at) due.push_back(id);
  }
  for (const auto id : due) read_again(*store_.sweep(id));
  const bool tried = std::none_of(unread_.begin(), unread_.end(),
                                  [](const auto& one) { return one.second.why.empty(); });
  if (restored_ || !tried) return;
  restored_ = true;
  log_.line("ready: " + std::to_string(live_.size()) + " unfinished sweeps");
}

void Loop::resumed(store::SweepId id, PlanDone done) {
  if (!done.prepared.sweep) {
    const std::string text = why_unread(done), why = text.substr(0, text.find('\n'));
    Unread& unread = unread_.at(id);
    if (unread.why != why) log_.line("sweep " + std::to_string(id) + " waits: " + why);
    unread = {.job = 0, .why = why, .again_at = now() + options_.read_again_ms};
    return;
  }
  const auto stages = store_.stages(id);
  const std::string changed = changed_files(store_, id, *done.prepared.sweep, done.files, stages);
  if (changed.empty())
    open_again(id,
               [this](const auto& row) { return row.n_withdrawn > 0 || has_damaged_table(row); });
  unread_.erase(id);
  if (changed.empty()) {
    admit(id, std::move(*done.prepared.sweep));
  } else {
    log_.line("sweep " + std::to_string(id) + " cannot go on: " + changed);
    for (const auto& stage : stages) {
      if (stage.state == "open" || stage.state == "waiting")
        store_.set_stage_state(stage.id, "stopped", changed);
    }
    store_.set_sweep_state(id, "stopped");
  }
  release_awaited();
}

std::string Loop::unread_text(store::SweepId id) const {
  const auto found = unread_.find(id);
  if (found == unread_.end()) return "";
  if (found->second.job != 0) return "its files are read: " + planner_.doing(found->second.job);
  return "waits: " + found->second.why + " (tried again each minute)";
}

// The leases on disk that a stage wants which is about to open. One whose result would not count
// here (the shard is done, or is computed under another tag) is another sweep's.
std::vector<Restored::Attempt> Loop::awaited_of(const StageOpened& opens) {
  const auto wants = [&](const std::pair<StageId, int64_t>& place, const std::string& tag) {
    if (place.first != opens.stage ||
        std::binary_search(opens.done.begin(), opens.done.end(), place.second))
      return false;
    const auto range = std::find_if(opens.ranges.begin(), opens.ranges.end(),
                                    [&](const Range& one) { return place.second < one.end; });
    return range != opens.ranges.end() && (range->tag == kAnyTag || range->tag == tag);
  };
  std::vector<Restored::Attempt> taken;
  for (auto& [key, attempts] : awaited_) {
    const auto places = store_.places(key);
    std::erase_if(attempts, [&](const Restored::Attempt& attempt) {
      const bool wanted = std::any_of(places.begin(), places.end(),
                                      [&](const auto& place) { return wants(place, attempt.tag); });
      if (wanted) taken.push_back(attempt);
      return wanted;
    });
  }
  std::erase_if(awaited_, [](const auto& entry) { return entry.second.empty(); });
  return taken;
}

// Those that no unread sweep wants any more: the scheduler ends them.
void Loop::release_awaited() {
  if (awaited_.empty()) return;
  std::set<StageId> unread;
  for (const auto& [id, sweep] : unread_) {
    for (const auto& stage : store_.stages(id)) unread.insert(stage.id);
  }
  Restored event;
  std::erase_if(awaited_, [&](auto& entry) {
    const auto places = store_.places(entry.first);
    if (std::any_of(places.begin(), places.end(),
                    [&](const auto& place) { return unread.contains(place.first); }))
      return false;
    std::move(entry.second.begin(), entry.second.end(), std::back_inserter(event.attempts));
    return true;
  });
  if (!event.attempts.empty()) step(std::move(event));
}

// Whether a sweep that is not over has a place for the shard.
bool Loop::may_be_wanted(const ShardKey& key) const {
  for (const auto& [stage, index] : store_.places(key)) {
    if (sweep_of_.contains(stage)) return true;
    for (const auto& [id, unread] : unread_) {
      for (const auto& row : store_.stages(id)) {
        if (row.id == stage) return true;
      }
    }
  }
  return false;
}

// Attempts that end otherwise are awaited no more.
void Loop::forget_awaited(const EndAttempt& ended) {
  const auto found = awaited_.find(ended.key);
  if (found == awaited_.end()) return;
  std::erase_if(found->second,
                [&](const auto& attempt) { return attempt.attempt == ended.attempt; });
  if (found->second.empty()) awaited_.erase(found);
}

void Loop::submitted(const Submission& submission, PlanDone done) {
  if (!done.prepared.sweep) {
    send(submission.route, refusal_to(submission.request, why_unread(done)));
    return;
  }
  auto& plan = *done.prepared.sweep;
  const Digest digest = headcount::digest(plan.spec);
  int64_t n_shards = 0;
  for (const auto& stage : plan.stages) n_shards += experiments::count(stage);
  const auto answer = [&](store::SweepId id, bool continued) {
    send(submission.route,
         reply_to(submission.request,
                  "{\"id\": " + std::to_string(id) +
                      ", \"name\": " + to_json(Field(plan.spec.name)) + ", \"digest\": \"" +
                      to_hex(digest) + "\", \"shards\": " + std::to_string(n_shards) +
                      ", \"continued\": " + (continued ? "true" : "false") + "}"));
  };
  if (submission.continue_equal) {
    for (const auto& row : store_.sweeps()) {
      if (row.digest == digest && unfinished(row.state)) return answer(row.id, true);
    }
  }
  store::SweepRow row;
  row.name = plan.spec.name;
  row.digest = digest;
  row.file = submission.job.file;
  row.root = submission.job.root;
  row.text = submission.job.text;
  row.state = "running";
  row.priority = plan.spec.priority;
  const store::SweepId id = store_.add_sweep(row, stage_rows(plan));
  remember_files(store_, id, done.files);
  if (submission.confined) store_.set_meta(confined_meta(id), "");
  log_.line("sweep " + std::to_string(id) + " \"" + row.name + "\": " + shards_text(n_shards));
  answer(id, false);
  admit(id, std::move(*done.prepared.sweep));
}

void Loop::answer_results(const Submission& submission, PlanDone done) {
  try {
    const auto read = [&]() -> std::optional<ReadAgain> {
      if (!done.prepared.sweep)
        throw Error("the files of this sweep cannot be read again: " + why_unread(done));
      return ReadAgain{.sweep = std::move(*done.prepared.sweep), .files = done.files};
    };
    const auto found = tables(store_, submission.results_of, submission.stage, read);
    send(submission.route, reply_to(submission.request, to_json(found)));
  } catch (const store::Damaged& damage) {
    send(submission.route, refusal_to(submission.request, mended(submission.results_of, damage)));
  } catch (const Error& error) {
    send(submission.route, refusal_to(submission.request, error.what()));
  }
}

}  // namespace headcount::coordinator
