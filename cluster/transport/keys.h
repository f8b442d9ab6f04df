// Who may speak to a coordinator. Every worker, client and admin bears one CURVE key pair; a state
// directory keeps
//   keys/coordinator   the coordinator's own pair (0600)
//   keys/allowed/NAME  one file a key: "worker|client|admin PUBLIC CREATED_AT"; removing it revokes
//   the key admin.key          the key file local commands use (0600)
// so that keys can be made and revoked whether or not a coordinator runs: it reads the folder again
// when it changes.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace headcount::transport {

/// A CURVE pair, each key as 40 characters of Z85.
struct KeyPair {
  std::string public_key, secret_key;
};
KeyPair new_key_pair();

/// What a key may do: a worker computes, a client submits and reads, an admin also drains workers,
/// makes keys and stops.
enum class Role { kWorker, kClient, kAdmin };
std::string to_string(Role role);
/// Throws Error naming the three.
Role role_from(const std::string& text);

/// All its bearer needs to reach one coordinator.
struct KeyFile {
  Role role = Role::kWorker;
  std::string name;
  std::string address;  // tcp://host:port
  std::string coordinator_public;
  KeyPair pair;
};
/// Written with mode 0600, whole or not at all.
void write_key_file(const std::string& path, const KeyFile& file);
/// Throws Error, in one sentence naming the file: absent, readable by others (chmod 600), not a key
/// file.
KeyFile read_key_file(const std::string& path);

/// One line of the allow-list.
struct AllowedKey {
  std::string name;
  Role role = Role::kWorker;
  std::string public_key;
  std::string created_at;  // ISO 8601 UTC
};

/// The coordinator's own pair; made on first use.
KeyPair coordinator_pair(const std::string& state_directory);
/// Makes a pair, allows it, returns its key file (not yet written). Names are 1..64 of letters,
/// digits, '.', '-', '_', and new. `address` is what the bearer will connect to.
KeyFile create_key(const std::string& state_directory, Role role, const std::string& name,
                   const std::string& address);
/// A listening address as other machines write it: all interfaces (0.0.0.0, [::], *) become this
/// machine's name.
std::string address_elsewhere(const std::string& address);
/// In name order. Throws Error where one of them cannot be read.
std::vector<AllowedKey> list_keys(const std::string& state_directory);
/// Throws Error when there is no such key. A running coordinator drops its bearer within about a
/// second.
void revoke_key(const std::string& state_directory, const std::string& name);
/// STATE/admin.key for commands of this machine's user: made, allowed and written where absent, and
/// brought up to `address`.
KeyFile admin_key(const std::string& state_directory, const std::string& address);
inline std::string admin_key_path(const std::string& state_directory) {
  return state_directory + "/admin.key";
}

/// The allow-list of a running coordinator, by public key. Used by its loop and by the ZAP thread.
/// Only a file that is gone revokes a key: what cannot be read for now (no file descriptors left, a
/// failing disk) stays as it was read last.
class AllowList {
 public:
  /// Throws Error where the folder cannot be made or read.
  explicit AllowList(const std::string& state_directory);
  AllowList(const AllowList&) = delete;
  ~AllowList();
  std::optional<AllowedKey> find(const std::string& public_key) const;
  /// Reads the folder again if it has changed, or could not be read before; true when the list did
  /// change.
  bool refresh();
  /// What the last refresh could not read, and why; empty: nothing.
  std::string trouble() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace headcount::transport
