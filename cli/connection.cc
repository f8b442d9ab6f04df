#include "cli/connection.h"

#include <filesystem>

#include "cluster/transport/client.h"
#include "cluster/transport/keys.h"
#include "coordinator/coordinator.h"

namespace headcount::cli {

struct Connection::Impl {
  std::string address;
  transport::Client client;
};

Connection::Connection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&&) noexcept = default;
Connection::~Connection() = default;

std::optional<Connection> Connection::find(const Common& common) {
  transport::KeyFile key;
  if (!common.key_file.empty()) {
    key = transport::read_key_file(common.key_file);
    if (!common.coordinator.empty()) key.address = common.coordinator;
  } else if (!common.coordinator.empty()) {
    throw BadInput("--coordinator " + common.coordinator +
                   " needs --key FILE (headcount key create client NAME -o FILE)");
  } else {
    const auto running = coordinator::find_running(common.state);
    if (!running) return std::nullopt;
    key = transport::read_key_file(transport::admin_key_path(common.state));
    key.address = running->address;
  }
  const std::string address = key.address;
  return Connection(std::make_unique<Impl>(Impl{address, transport::Client(key)}));
}

Connection Connection::need(const Common& common) {
  auto connection = find(common);
  if (connection) return std::move(*connection);
  throw Error("no coordinator runs in " + common.state +
              "; start one (headcount coordinator start --detach), or name another by --state or "
              "--coordinator and --key");
}

std::string Connection::ask(const std::string& verb, const Fields& fields, int64_t timeout_ms,
                            const std::function<void()>& meanwhile) {
  return transport::ask(impl_->client, impl_->address, verb, fields, timeout_ms, meanwhile);
}

const std::string& Connection::address() const { return impl_->address; }

store::Store open_database(const Common& common) {
  if (!std::filesystem::exists(common.state + "/" + store::kFileName)) {
    throw Error("there is no database in " + common.state +
                " (name another state directory by --state, or run a spec first)");
  }
  return store::Store::open_read_only(common.state);
}

}  // namespace headcount::cli
