#include "coordinator/sweep_status.h"

#include <nlohmann/json.hpp>

#include "schemas/error.h"

namespace headcount::coordinator {
namespace {

using Json = nlohmann::ordered_json;

// Texts come from users and from runners' output: bytes that are no UTF-8 are replaced, never
// fatal.
std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json json_of(const WorkerStatus& worker) {
  Json devices = Json::array();
  for (const auto& runner : worker.devices)
    devices.push_back(
        {{"device", runner.device}, {"tag", runner.tag}, {"memory_bytes", runner.memory_bytes}});
  return {{"name", worker.name},       {"host", worker.host},
          {"devices", devices},        {"state", worker.state},
          {"problem", worker.problem}, {"held", worker.held},
          {"running", worker.running}, {"done", worker.done},
          {"rate", worker.rate},       {"last_seen_s", worker.last_seen_s}};
}

Json json_of(const std::vector<WorkerStatus>& workers) {
  Json list = Json::array();
  for (const WorkerStatus& worker : workers) list.push_back(json_of(worker));
  return list;
}

Json json_of(const StageStatus& stage, bool live) {
  Json json = {{"id", stage.id},
               {"name", stage.name},
               {"kind", stage.kind},
               {"state", stage.state},
               {"reason", stage.reason},
               {"shards", stage.shards},
               {"planned", stage.planned},
               {"cached", stage.cached},
               {"done", stage.done},
               {"quarantined", stage.quarantined},
               {"withdrawn", stage.withdrawn},
               {"micro_batch", stage.micro_batch}};
  if (!live) return json;
  json["rate"] = stage.rate;
  json["time_left_s"] = stage.time_left_s ? Json(*stage.time_left_s) : Json();
  return json;
}

/// The elements of a list of objects; throws where it is none.
Json::array_t objects(const Json& list) {
  const auto& elements = list.get_ref<const Json::array_t&>();
  for (const Json& element : elements) element.get_ref<const Json::object_t&>();
  return elements;
}

template <class T>
void read(const Json& json, const char* name, T& member) {
  if (const auto found = json.find(name); found != json.end()) found->get_to(member);
}

template <class T>
void read(const Json& json, const char* name, std::optional<T>& member) {
  if (const auto found = json.find(name); found != json.end() && !found->is_null())
    member = found->get<T>();
}

std::vector<WorkerStatus> workers_of(const Json& list) {
  std::vector<WorkerStatus> workers;
  for (const Json& json : objects(list)) {
    WorkerStatus& worker = workers.emplace_back();
    read(json, "name", worker.name);
    read(json, "host", worker.host);
    for (const Json& device : objects(json.value("devices", Json::array()))) {
      WorkerStatus::Device& runner = worker.devices.emplace_back();
      read(device, "device", runner.device);
      read(device, "tag", runner.tag);
      read(device, "memory_bytes", runner.memory_bytes);
    }
    read(json, "state", worker.state);
    read(json, "problem", worker.problem);
    read(json, "held", worker.held);
    read(json, "running", worker.running);
    read(json, "done", worker.done);
    read(json, "rate", worker.rate);
    read(json, "last_seen_s", worker.last_seen_s);
  }
  return workers;
}

StageStatus stage_of(const Json& json) {
  StageStatus stage;
  read(json, "id", stage.id);
  read(json, "name", stage.name);
  read(json, "kind", stage.kind);
  read(json, "state", stage.state);
  read(json, "reason", stage.reason);
  read(json, "shards", stage.shards);
  read(json, "planned", stage.planned);
  read(json, "cached", stage.cached);
  read(json, "done", stage.done);
  read(json, "quarantined", stage.quarantined);
  read(json, "withdrawn", stage.withdrawn);
  read(json, "micro_batch", stage.micro_batch);
  read(json, "rate", stage.rate);
  read(json, "time_left_s", stage.time_left_s);
  return stage;
}

}  // namespace

std::string status_json(const SweepStatus& status) {
  Json models = Json::array(), stages = Json::array();
  for (const auto& binding : status.models)
    models.push_back({{"model", binding.model}, {"tag", binding.tag}});
  for (const StageStatus& stage : status.stages)
    stages.push_back(json_of(stage, status.live.has_value()));
  Json json = {{"id", status.id},
               {"name", status.name},
               {"state", status.state},
               {"digest", status.digest},
               {"file", status.file},
               {"created_at", status.created_at},
               {"finished_at", status.finished_at},
               {"models", models},
               {"stages", stages},
               {"alarms", status.alarms}};
  if (status.live) {
    json["waits"] = status.live->waits;
    json["workers"] = json_of(status.live->workers);
    if (status.live->busy_s) json["busy_s"] = *status.live->busy_s;
  }
  return dump(json);
}

std::string workers_json(const std::vector<WorkerStatus>& workers) {
  return dump({{"workers", json_of(workers)}});
}

SweepStatus status_from_json(const std::string& text) {
  try {
    const Json json = Json::parse(text);
    SweepStatus status;
    for (const Json& stage : objects(json.at("stages"))) status.stages.push_back(stage_of(stage));
    read(json, "id", status.id);
    read(json, "name", status.name);
    read(json, "state", status.state);
    read(json, "digest", status.digest);
    read(json, "file", status.file);
    read(json, "created_at", status.created_at);
    read(json, "finished_at", status.finished_at);
    for (const Json& model : objects(json.value("models", Json::array()))) {
      SweepStatus::Binding& binding = status.models.emplace_back();
      read(model, "model", binding.model);
      read(model, "tag", binding.tag);
    }
    read(json, "alarms", status.alarms);
    if (!json.contains("workers")) return status;
    SweepStatus::Live live;
    read(json, "waits", live.waits);
    live.workers = workers_of(json["workers"]);
    read(json, "busy_s", live.busy_s);
    status.live = std::move(live);
    return status;
  } catch (const Json::exception& error) {
    throw Error(std::string("the coordinator's answer is no status of a sweep: ") + error.what());
  }
}

std::vector<WorkerStatus> workers_from_json(const std::string& text) {
  try {
    return workers_of(Json::parse(text).at("workers"));
  } catch (const Json::exception& error) {
    throw Error(std::string("the coordinator's answer is no list of workers: ") + error.what());
  }
}

}  // namespace headcount::coordinator
