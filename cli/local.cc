#include "cli/local.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "cluster/transport/keys.h"
#include "coordinator/coordinator.h"

namespace headcount::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr auto kNap = std::chrono::milliseconds(20);
constexpr auto kReadyWithin = std::chrono::seconds(60);
constexpr size_t kTailBytes = 4096;

/// What a daemon said last: the last non-empty line of its output.
std::string last_words(const std::string& log_file) {
  std::ifstream in(log_file, std::ios::binary);
  in.seekg(0, std::ios::end);
  const auto size = static_cast<size_t>(std::max<std::streamoff>(0, in.tellg()));
  in.seekg(static_cast<std::streamoff>(size - std::min(size, kTailBytes)));
  std::string line, last;
  while (std::getline(in, line)) {
    if (!line.empty()) last = line;
  }
  constexpr std::string_view kOwnName = "headcount: ";
  return last.rfind(kOwnName, 0) == 0 ? last.substr(kOwnName.size()) : last;
}

std::string why_it_ended(const std::string& what, const process::Exit& exit,
                         const std::string& log_file) {
  const std::string words = last_words(log_file);
  return words.empty()
             ? what + " ended: " + process::to_string(exit) + " (output: " + log_file + ")"
             : words;
}

void make_directory(const std::string& directory) {
  std::error_code failed;
  fs::create_directories(directory, failed);
  if (failed) throw Error("cannot create " + directory + ": " + failed.message());
}

/// A key for worker `name`, made once and kept beside the state it is for.
std::string worker_key(const std::string& state, const std::string& name,
                       const std::string& address) {
  const std::string path = state + "/run/" + name + ".key";
  const auto allowed = transport::list_keys(state);
  const bool known = std::any_of(allowed.begin(), allowed.end(),
                                 [&](const auto& key) { return key.name == name; });
  transport::KeyFile file;
  if (known && fs::exists(path)) {
    file = transport::read_key_file(path);
    file.address = address;
  } else {
    if (known) transport::revoke_key(state, name);
    file = transport::create_key(state, transport::Role::kWorker, name, address);
  }
  transport::write_key_file(path, file);
  return path;
}

}  // namespace

std::string own_program() { return fs::read_symlink("/proc/self/exe").string(); }

std::string runner_program() {
  const std::string beside = process::program_directory() + "/headcount-runner";
  return ::access(beside.c_str(), X_OK) == 0 ? beside : "";
}

std::string need_runner_program() {
  const std::string program = runner_program();
  if (!program.empty()) return program;
  throw Error("there is no headcount-runner beside this program in " +
              process::program_directory() +
              ": this build has no LibTorch side (build a preset with one: dev, release, runner)");
}

void become_runner(const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {need_runner_program()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& argument : all) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  ::execv(all[0].c_str(), pointers.data());
  throw Error("cannot start " + all[0] + ": " + std::strerror(errno));
}

int start_detached(const std::vector<std::string>& arguments, const std::string& log_file,
                   const std::function<bool()>& ready) {
  make_directory(fs::path(log_file).parent_path());
  fs::remove(log_file);
  process::Command command;
  command.arguments = {own_program()};
  command.arguments.insert(command.arguments.end(), arguments.begin(), arguments.end());
  command.log_file = log_file;
  command.die_with_parent = false;
  command.own_session = true;
  process::Child child = process::Child::start(command);
  const auto until = Clock::now() + kReadyWithin;
  while (!ready()) {
    if (const auto exit = child.poll()) throw Error(why_it_ended("the daemon", *exit, log_file));
    if (Clock::now() > until) {
      const int pid = child.pid();
      child.release();
      throw Error("the daemon (pid " + std::to_string(pid) + ") is not ready after a minute; see " +
                  log_file);
    }
    std::this_thread::sleep_for(kNap);
  }
  const int pid = child.pid();
  child.release();
  return pid;
}

LocalCluster::LocalCluster(const LocalOptions& options) : options_(options) {
  if (const auto running = coordinator::find_running(options.state)) {
    throw Error("a coordinator already runs in " + options.state + " (pid " +
                std::to_string(running->pid) +
                "); give it the spec by headcount submit SPEC --wait, or name another --state");
  }
  make_directory(options.state + "/run");
  coordinator_.arguments = {"coordinator",       "start",  "--state",   options.state, "--listen",
                            "tcp://127.0.0.1:0", "--root", options.root};
  coordinator_.log_file = options.state + "/run/coordinator.out";
  start_coordinator();
}

void LocalCluster::start(Daemon& daemon) const {
  process::Command command;
  command.arguments = {own_program()};
  command.arguments.insert(command.arguments.end(), daemon.arguments.begin(),
                           daemon.arguments.end());
  command.log_file = daemon.log_file;
  command.own_session = true;  // Ctrl-C is ours to hand on
  std::error_code ignored;
  fs::remove(daemon.log_file, ignored);
  daemon.child = process::Child::start(command);
}

void LocalCluster::start_coordinator() {
  start(coordinator_);
  const auto until = Clock::now() + kReadyWithin;
  while (true) {
    const auto running = coordinator::find_running(options_.state);
    if (running && running->pid == coordinator_.child->pid()) return;
    if (const auto exit = coordinator_.child->poll()) {
      throw Error(why_it_ended("the coordinator", *exit, coordinator_.log_file));
    }
    if (Clock::now() > until) {
      throw Error("the coordinator is not ready after a minute; see " + coordinator_.log_file);
    }
    std::this_thread::sleep_for(kNap);
  }
}

void LocalCluster::kill_coordinator() {
  coordinator_.child->kill(SIGKILL);
  coordinator_.child->wait(10'000);
}

std::string LocalCluster::address() const {
  const auto running = coordinator::find_running(options_.state);
  if (!running) throw Error("the coordinator in " + options_.state + " is gone");
  return running->address;
}

Connection LocalCluster::connect() const {
  Common common;
  common.state = options_.state;
  return Connection::need(common);
}

void LocalCluster::start_workers() {
  for (int i = 1; i <= options_.workers; ++i) {
    const std::string name = "local-" + std::to_string(i);
    Daemon worker;
    worker.arguments = {"worker",  "start",
                        "--key",   worker_key(options_.state, name, address()),
                        "--state", options_.state};
    worker.arguments.insert(worker.arguments.end(), options_.worker_flags.begin(),
                            options_.worker_flags.end());
    worker.log_file = options_.state + "/run/" + name + ".out";
    workers_.push_back(std::move(worker));
    start(workers_.back());
  }
}

std::vector<pid_t> LocalCluster::worker_pids() const {
  std::vector<pid_t> pids;
  for (const Daemon& worker : workers_) pids.push_back(worker.child->pid());
  return pids;
}

void LocalCluster::supervise() {
  const auto look_at = [&](Daemon& daemon, const std::string& what) {
    const auto exit = daemon.child->poll();
    if (!exit) return false;
    if (exit->signal == 0) throw Error(why_it_ended(what, *exit, daemon.log_file));
    return true;
  };
  if (look_at(coordinator_, "the coordinator")) start_coordinator();
  for (Daemon& worker : workers_) {
    if (look_at(worker, "a worker")) start(worker);
  }
}

void LocalCluster::stop(const std::function<bool()>& hurry) {
  for (Daemon& worker : workers_) worker.child->kill(SIGTERM);
  for (Daemon& worker : workers_) {
    while (!hurry() && !worker.child->wait(50)) {
    }
  }
  workers_.clear();  // those still there are killed
  coordinator_.child->kill(SIGTERM);
  while (!hurry() && !coordinator_.child->wait(50)) {
  }
}

}  // namespace headcount::cli
