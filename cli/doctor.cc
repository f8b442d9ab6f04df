// Part of cli/command.h.
// headcount doctor: what this machine has, what is wrong with it, and how to mend it.
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/command.h"
#include "cli/connection.h"
#include "cli/local.h"
#include "cli/text.h"
#include "cluster/process/process.h"
#include "cluster/transport/keys.h"
#include "coordinator/coordinator.h"
#include "coordinator/sweep_status.h"
#include "schemas/version.h"
#include "worker/devices.h"

namespace headcount::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

enum class Verdict { kFine, kWarning, kBad };

/// One thing looked at.
struct Finding {
  std::string subject;
  Verdict verdict = Verdict::kFine;
  std::string text;
  std::string mend;  // what to do; empty where nothing is to be done
};

constexpr uint64_t kLittleDisk = uint64_t{1} << 30;
constexpr int64_t kRunnerTimeoutMs = 60'000;

/// The nearest existing folder at or above `path`.
fs::path existing(const fs::path& path) {
  fs::path at = fs::absolute(path);
  while (!fs::exists(at) && at.has_parent_path() && at != at.parent_path()) at = at.parent_path();
  return at;
}

void look_at_state(const std::string& state, std::vector<Finding>& findings) {
  const fs::path at = existing(state);
  if (::access(at.c_str(), W_OK) != 0) {
    findings.push_back({"state", Verdict::kBad, state + " is not writable",
                        "name another by --state DIR or $HEADCOUNT_STATE"});
    return;
  }
  struct statfs file_system {};
  ::statfs(at.c_str(), &file_system);
  const std::string network =
      store::untrusted_file_system(static_cast<int64_t>(file_system.f_type));
  if (!network.empty()) {
    findings.push_back({"state", Verdict::kBad, state + " lies on " + network,
                        "name a folder on a local disk by --state DIR or $HEADCOUNT_STATE"});
    return;
  }
  findings.push_back(
      {"state", Verdict::kFine, state + (fs::exists(state) ? "" : " (made on first use)"), ""});
}

void look_at_disk(const std::string& state, std::vector<Finding>& findings) {
  struct statvfs disk {};
  if (::statvfs(existing(state).c_str(), &disk) != 0) return;
  const uint64_t free_bytes = static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
  const bool little = free_bytes < kLittleDisk;
  findings.push_back({"disk", little ? Verdict::kWarning : Verdict::kFine,
                      grouped(static_cast<int64_t>(free_bytes >> 20)) + " MiB free under " + state,
                      little ? "free some, or move the state directory" : ""});
}

void look_at_database(const Common& common, std::vector<Finding>& findings) {
  if (!fs::exists(common.state + "/" + store::kFileName)) {
    findings.push_back({"database", Verdict::kFine, "none yet", ""});
    return;
  }
  try {
    const store::Store store = open_database(common);
    findings.push_back({"database", Verdict::kFine,
                        std::to_string(store.sweeps().size()) + " sweeps, " +
                            grouped(store.n_results()) + " results",
                        ""});
    for (const std::string& alarm : store.alarms()) {
      findings.push_back(
          {"database", Verdict::kWarning, alarm,
           "compare the two workers: headcount worker list, headcount-runner compare"});
    }
  } catch (const Error& error) {
    findings.push_back({"database", Verdict::kBad, error.what(), ""});
  }
}

void look_at_keys(const std::string& state, std::vector<Finding>& findings) {
  if (!fs::exists(state + "/keys")) {
    findings.push_back({"keys", Verdict::kFine, "none yet", ""});
    return;
  }
  try {
    findings.push_back({"keys", Verdict::kFine,
                        std::to_string(transport::list_keys(state).size()) + " allowed", ""});
  } catch (const Error& error) {
    findings.push_back({"keys", Verdict::kBad, error.what(), ""});
  }
  for (const std::string& file : {state + "/admin.key", state + "/keys/coordinator"}) {
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0 || (status.st_mode & 077) == 0) continue;
    findings.push_back(
        {"keys", Verdict::kBad, file + " can be read by others", "chmod 600 " + file});
  }
}

void look_at_coordinator(const Common& common, std::vector<Finding>& findings) {
  const auto running = coordinator::find_running(common.state);
  if (!running) {
    findings.push_back({"coordinator", Verdict::kFine, "none runs in this state directory", ""});
    return;
  }
  findings.push_back({"coordinator", Verdict::kFine,
                      "runs at " + running->address + ", pid " + std::to_string(running->pid), ""});
  try {
    Connection connection = Connection::need(common);
    const Json info = Json::parse(connection.ask("coordinator.info", {}, 5'000));
    if (const std::string waits = info.value("waits", ""); !waits.empty()) {
      findings.push_back({"coordinator", Verdict::kBad, "nothing can be recorded: " + waits,
                          "it goes on by itself when that is mended"});
    }
    if (const std::string trouble = info.value("key_trouble", ""); !trouble.empty()) {
      findings.push_back({"coordinator", Verdict::kBad,
                          "keys cannot be read, and stay as they were: " + trouble,
                          "make it readable; nothing else is to be done"});
    }
    if (const auto n = info.value("shut_out", int64_t{0}); n > 0) {
      findings.push_back({"coordinator", Verdict::kWarning,
                          grouped(n) + " new connections were shut: too many files are open",
                          "start it under a higher limit (ulimit -n)"});
    }
    const std::string workers = connection.ask("worker.list", {}, 5'000);
    for (const auto& worker : coordinator::workers_from_json(workers)) {
      if (worker.problem.empty() || worker.state != "waiting") continue;
      findings.push_back(
          {"worker", Verdict::kBad,
           worker.name + " on " + worker.host + " takes no shards: " + worker.problem,
           "it goes on by itself when that is mended"});
    }
  } catch (const Error& error) {
    findings.push_back(
        {"coordinator", Verdict::kBad, error.what(), "see " + common.state + "/coordinator.log"});
  } catch (const Json::exception&) {
    findings.push_back({"coordinator", Verdict::kBad, "its answer is not understood",
                        "use the same version everywhere"});
  }
}

void look_at_devices(std::vector<Finding>& findings) {
  std::string devices;
  for (const std::string& device : worker::found_devices()) {
    devices += (devices.empty() ? "" : ", ") + device;
  }
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  findings.push_back(
      {"devices", Verdict::kFine,
       devices + " (" + std::to_string(worker::usable_cpus()) + " CPU cores" +
           (visible != nullptr ? std::string(", CUDA_VISIBLE_DEVICES=") + visible : std::string()) +
           ")",
       ""});
}

/// What `headcount-runner info --format json` prints.
std::string ask_runner(const std::string& program) {
  process::Command command;
  command.arguments = {program, "info", "--format", "json"};
  process::Child child = process::Child::start(command);
  process::LogTail tail(1 << 20);
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::milliseconds(kRunnerTimeoutMs);
  while (tail.read_from(child.output()) && Clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const auto exit = child.wait(1000);
  if (!exit || exit->signal != 0 || exit->status != 0) {
    throw Error("headcount-runner does not work: " +
                (exit ? process::to_string(*exit) : std::string("no answer in a minute")) + "\n" +
                tail.text());
  }
  return tail.text();
}

void look_at_runner(std::vector<Finding>& findings) {
  const std::string program = runner_program();
  if (program.empty()) {
    findings.push_back({"runner", Verdict::kWarning,
                        "no headcount-runner beside this program: nothing can be computed here",
                        "build a preset with LibTorch: dev, release or runner"});
    return;
  }
  try {
    const std::string said = ask_runner(program);
    const Json info = Json::parse(said.substr(said.find('{')));
    const std::string version = info.value("version", "");
    const bool same = version == kVersion;
    findings.push_back({"runner", same ? Verdict::kFine : Verdict::kBad,
                        "version " + version + ", LibTorch " + info.value("libtorch", "?"),
                        same ? "" : "build headcount and headcount-runner together"});
    findings.push_back({"blas", Verdict::kFine, info.value("blas", "?"), ""});
    findings.push_back({"numerics", Verdict::kFine, info.value("tag_cpu", "?"), ""});
    std::string gpus;
    for (const Json& gpu : info.value("cuda", Json::array())) {
      gpus += (gpus.empty() ? "" : ", ") + (gpu.is_string() ? gpu.get<std::string>() : gpu.dump());
    }
    findings.push_back({"gpus", Verdict::kFine, gpus.empty() ? "none LibTorch can use" : gpus, ""});
    for (const Json& warning : info.value("warnings", Json::array())) {
      findings.push_back({"runner", Verdict::kWarning, warning.get<std::string>(), ""});
    }
  } catch (const Json::exception&) {
    findings.push_back(
        {"runner", Verdict::kBad, program + " info gives no JSON", "build it again"});
  } catch (const Error& error) {
    findings.push_back({"runner", Verdict::kBad, error.what(), ""});
  }
}

std::string name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kFine:
      return "ok";
    case Verdict::kWarning:
      return "warning";
    case Verdict::kBad:
      return "BAD";
  }
  return "";
}

int doctor(const Session& session) {
  const Common& common = session.common;
  std::vector<Finding> findings = {
      {"headcount", Verdict::kFine, std::string("version ") + kVersion, ""}};
  look_at_state(common.state, findings);
  look_at_disk(common.state, findings);
  look_at_database(common, findings);
  look_at_keys(common.state, findings);
  look_at_coordinator(common, findings);
  look_at_devices(findings);
  look_at_runner(findings);
  bool bad = false;
  Json list = Json::array();
  std::string text;
  for (const Finding& finding : findings) {
    bad = bad || finding.verdict == Verdict::kBad;
    list.push_back({{"subject", finding.subject},
                    {"verdict", name_of(finding.verdict)},
                    {"text", finding.text},
                    {"mend", finding.mend}});
    if (common.quiet() && finding.verdict == Verdict::kFine) continue;
    const std::string verdict = name_of(finding.verdict);
    text += verdict + std::string(9 - verdict.size(), ' ') + finding.subject +
            std::string(finding.subject.size() < 13 ? 13 - finding.subject.size() : 1, ' ') +
            finding.text + (finding.mend.empty() ? "" : "; " + finding.mend) + "\n";
  }
  if (common.json()) {
    emit(common, Json{{"findings", list}, {"ok", !bad}}.dump());
  } else if (!text.empty()) {
    emit(common, text);
  }
  return bad ? kFailed : kOk;
}

}  // namespace

void add_doctor_command(CLI::App& app, Session& session) {
  CLI::App* command = add_command(
      app, session, "doctor",
      "versions, BLAS, GPUs, keys, disk: what is wrong here and how to mend it",
      "  headcount doctor\n  headcount doctor --format quiet        (only what is wrong)",
      [&session] { return doctor(session); });
  add_state(*command, session);
  add_output(*command, session, {"text", "json", "quiet"});
}

}  // namespace headcount::cli
