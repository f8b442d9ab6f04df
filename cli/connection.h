// How a command reaches its coordinator, or the database where none runs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cli/command.h"
#include "schemas/fields.h"
#include "store/store.h"

namespace headcount::cli {

/// A connection to a running coordinator.
class Connection {
 public:
  /// The coordinator of --coordinator/--key, else the one running in --state; nullopt where that
  /// state has none running. Throws Error for a bad key file, BadInput for --coordinator without
  /// --key.
  static std::optional<Connection> find(const Common& common);
  /// The same, but none running is an Error saying how to start one.
  static Connection need(const Common& common);

  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) noexcept;
  ~Connection();

  /// One question; returns the answer's JSON text. Throws Error with the coordinator's sentence.
  /// `meanwhile` is called some times a second until then.
  std::string ask(const std::string& verb, const Fields& fields, int64_t timeout_ms = 15'000,
                  const std::function<void()>& meanwhile = {});
  const std::string& address() const;

 private:
  struct Impl;
  explicit Connection(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The database of --state, for reading. Throws Error where there is none yet.
store::Store open_database(const Common& common);

}  // namespace headcount::cli
