// Part of cli/command.h.
// headcount key create | list | revoke: who may speak to the coordinator of a state directory. They
// work on its files, so that keys can be made before it is ever started; or, with --coordinator and
// an admin's key, by asking a coordinator elsewhere.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/connection.h"
#include "cli/text.h"
#include "cluster/transport/keys.h"
#include "coordinator/coordinator.h"
#include "coordinator/view.h"
#include "store/store.h"

namespace headcount::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string role, name, address;
  bool set_aside = false;
};

bool elsewhere(const Common& common) {
  return !common.coordinator.empty() || !common.key_file.empty();
}

transport::KeyFile key_file_from(const Json& json) {
  return {.role = transport::role_from(json.at("role")),
          .name = json.at("name"),
          .address = json.at("address"),
          .coordinator_public = json.at("coordinator_public"),
          .pair = {.public_key = json.at("public_key"), .secret_key = json.at("secret_key")}};
}

/// Where the bearer will connect: --address, else the running coordinator's, else the last one's.
std::string address_for(const Common& common, const Options& options) {
  if (!options.address.empty()) return options.address;
  if (const auto running = coordinator::find_running(common.state)) return running->address;
  const std::string admin = transport::admin_key_path(common.state);
  if (std::filesystem::exists(admin)) return transport::read_key_file(admin).address;
  throw BadInput("no coordinator has run in " + common.state +
                 " yet: say where it will listen by --address tcp://HOST:PORT, or start it first");
}

int create(const Session& session, const Options& options) {
  const Common& common = session.common;
  const std::string path = common.output.empty() ? options.name + ".key" : common.output;
  if (std::filesystem::exists(path)) {
    throw BadInput(path + " exists already; name another file by -o FILE");
  }
  transport::KeyFile file;
  if (elsewhere(common)) {
    const std::string answer = Connection::need(common).ask(
        "key.create", {{"role", options.role}, {"name", options.name}});
    file = key_file_from(Json::parse(answer).at("key_file"));
  } else {
    const std::string address = address_for(common, options);
    file = transport::create_key(common.state, transport::role_from(options.role), options.name,
                                 transport::address_elsewhere(address));
  }
  transport::write_key_file(path, file);
  Common to_stdout = common;
  to_stdout.output.clear();
  if (common.json()) {
    emit(to_stdout, Json{{"file", path},
                         {"name", file.name},
                         {"role", options.role},
                         {"address", file.address},
                         {"public_key", file.pair.public_key}}
                        .dump());
  } else if (common.quiet()) {
    emit(to_stdout, path);
  } else {
    emit(to_stdout, "wrote " + path + ": " + options.role + " key \"" + file.name + "\" for " +
                        file.address + "; keep it secret, copy it to the machine that uses it");
  }
  return kOk;
}

Json listed(const Common& common) {
  if (elsewhere(common)) {
    return Json::parse(Connection::need(common).ask("key.list", {})).at("keys");
  }
  Json keys = Json::array();
  for (const transport::AllowedKey& key : transport::list_keys(common.state)) {
    keys.push_back({{"name", key.name},
                    {"role", transport::to_string(key.role)},
                    {"public_key", key.public_key},
                    {"created_at", key.created_at}});
  }
  return keys;
}

int list(const Session& session) {
  const Json keys = listed(session.common);
  if (session.common.json()) {
    emit(session.common, Json{{"keys", keys}}.dump());
    return kOk;
  }
  std::vector<std::vector<std::string>> rows = {{"name", "role", "created", "public key"}};
  std::string names;
  for (const Json& key : keys) {
    rows.push_back({key.at("name"), key.at("role"), key.at("created_at"), key.at("public_key")});
    names += rows.back()[0] + "\n";
  }
  emit(session.common, session.common.quiet() ? names : aligned(rows));
  return kOk;
}

/// The database of a state directory in which no coordinator runs; how many results were set aside.
int64_t set_aside(const Common& common, const std::string& name) {
  store::Store store = store::Store::open(common.state);
  int64_t n = 0;
  store.transaction([&] {
    for (const std::string& worker : coordinator::bearers(store, common.state, name))
      n += std::ssize(store.withdraw(worker, coordinator::withdrawn_because(name)));
    if (n > 0) store.alarm(coordinator::withdrawn_text(n, name));
    if (n == 0 || coordinator::is_allowed(common.state, name))
      transport::revoke_key(common.state, name);
  });
  return n;
}

int revoke(const Session& session, const Options& options) {
  const Common& common = session.common;
  int64_t n = 0;
  if (elsewhere(common) || (options.set_aside && coordinator::find_running(common.state))) {
    const Json answer = Json::parse(Connection::need(common).ask(
        "key.revoke", {{"name", options.name}, {"set_aside", options.set_aside}}, 600'000));
    n = answer.value("set_aside", int64_t{0});
  } else if (options.set_aside) {
    n = set_aside(common, options.name);
  } else {
    transport::revoke_key(common.state, options.name);
  }
  if (common.json()) {
    emit(common, Json{{"revoked", options.name}, {"set_aside", n}}.dump());
  } else if (!common.quiet()) {
    emit(common, "revoked " + options.name + "; its bearer is refused from now on" +
                     (options.set_aside ? "; " + std::to_string(n) +
                                              " results no longer count (headcount query \"SELECT "
                                              "* FROM set_aside\")"
                                        : std::string()));
  }
  return kOk;
}

}  // namespace

void add_key_commands(CLI::App& app, Session& session) {
  CLI::App* key =
      app.add_subcommand("key", "make, list and revoke keys: one per worker, client or admin");
  key->require_subcommand(1);
  const auto options = std::make_shared<Options>();

  CLI::App* made =
      add_command(*key, session, "create", "make a key and write its key file (mode 0600)",
                  "  headcount key create worker node1 -o node1.key\n"
                  "  headcount key create client alice --address tcp://head.example:7600",
                  [&session, options] { return create(session, *options); });
  made->add_option("role", options->role, "what its bearer may do: worker|client|admin")
      ->required()
      ->check(CLI::IsMember({"worker", "client", "admin"}));
  made->add_option("name", options->name, "a new name: letters, digits, '.', '-', '_'")->required();
  made->add_option("--address", options->address,
                   "where the bearer connects (default: the coordinator's own address)")
      ->type_name("tcp://HOST:PORT");
  add_output(*made, session, {"text", "json", "quiet"});
  add_coordinator(*made, session);

  CLI::App* all = add_command(*key, session, "list", "every key that is allowed",
                              "  headcount key list", [&session] { return list(session); });
  add_output(*all, session, {"text", "json", "quiet"});
  add_coordinator(*all, session);

  CLI::App* gone = add_command(*key, session, "revoke", "refuse a key from now on",
                               "  headcount key revoke node1\n"
                               "  headcount key revoke node7 --set-aside     (a machine that "
                               "computes wrong numbers, or a stolen key)",
                               [&session, options] { return revoke(session, *options); });
  gone->add_option("name", options->name, "its name, as key list shows it")->required();
  gone->add_flag("--set-aside", options->set_aside,
                 "also let nothing count that it delivered: sweeps under way compute it again, "
                 "finished ones say so (sweep retry); also for a key that is revoked already");
  add_output(*gone, session, {"text", "json", "quiet"});
  add_coordinator(*gone, session);
}

}  // namespace headcount::cli
