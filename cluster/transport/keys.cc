#include "cluster/transport/keys.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <sstream>

#include "schemas/bad_input.h"
#include "schemas/new_file.h"

namespace headcount::transport {
namespace {

constexpr size_t kKeySize = 40;  // a CURVE key in Z85

bool is_key(const std::string& text) {
  uint8_t bytes[32];
  return text.size() == kKeySize && zmq_z85_decode(bytes, text.c_str()) != nullptr;
}

bool is_name(const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
  };
  return !name.empty() && name.size() <= 64 && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), allowed);
}

std::string now_text() {
  const time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  return std::string(text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc));
}

std::string keys_directory(const std::string& state) { return state + "/keys"; }
std::string allowed_directory(const std::string& state) { return state + "/keys/allowed"; }

void make_directories(const std::string& state) {
  std::error_code error;
  std::filesystem::create_directories(state, error);
  make_private_folder(keys_directory(state));
  make_private_folder(allowed_directory(state));
}

// Makes the file, with mode 0600; false where there is one already.
bool make_file(const std::string& path, const std::string& text) {
  NewFile file(path, Readers::kOwner);
  file.write(text);
  return file.claim();
}

std::string read_private_file(const std::string& path) {
  struct stat found {};
  if (stat(path.c_str(), &found) != 0)
    throw Error("the key file " + path + " cannot be read: " + std::strerror(errno));
  if (!S_ISREG(found.st_mode)) throw Error("the key file " + path + " is not a file");
  if ((found.st_mode & 077) != 0) {
    throw Error("the key file " + path + " can be read by others: run `chmod 600 " + path +
                "`, or make a new key if it may have been seen");
  }
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) throw Error("the key file " + path + " cannot be read: check its permissions");
  return std::move(text).str();
}

// "name = value" lines.
std::map<std::string, std::string> read_members(const std::string& text) {
  std::map<std::string, std::string> members;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t equals = line.find(" = ");
    if (line.empty() || line[0] == '#' || equals == std::string::npos) continue;
    members[line.substr(0, equals)] = line.substr(equals + 3);
  }
  return members;
}

// One file of the allow-list; nullopt: it is none. Throws Error where it cannot be read, though it
// is there.
std::optional<AllowedKey> read_allowed_key(const std::string& state, const std::string& name) {
  const std::string path = allowed_directory(state) + "/" + name;
  std::ifstream in(path);
  if (!in && errno == ENOENT) return std::nullopt;  // revoked since the folder was listed
  std::string role;
  AllowedKey key{.name = name, .role = Role::kWorker, .public_key = {}, .created_at = {}};
  const bool whole = static_cast<bool>(in >> role >> key.public_key >> key.created_at);
  if (!in.is_open() || in.bad()) throw Error(path + ": " + std::strerror(errno));
  if (!whole || !is_key(key.public_key)) return std::nullopt;
  if (role != "worker" && role != "client" && role != "admin") return std::nullopt;
  key.role = role_from(role);
  return key;
}

// What the folder holds, in name order. `unreadable` is told of every file that could not be read,
// and why. Throws Error where the folder cannot be.
std::vector<AllowedKey> read_allowed(
    const std::string& state,
    const std::function<void(const std::string& name, const Error& why)>& unreadable) {
  const std::string path = allowed_directory(state);
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(path.c_str()), closedir);
  if (folder == nullptr) throw Error(path + ": " + std::strerror(errno));
  std::vector<AllowedKey> keys;
  while (errno = 0, true) {
    const dirent* entry = readdir(folder.get());
    if (entry == nullptr && errno != 0) throw Error(path + ": " + std::strerror(errno));
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    // NAME.part-PID: what an older version left half made.
    if (!is_name(name) || name.find(".part-") != std::string::npos) continue;
    try {
      if (auto key = read_allowed_key(state, name)) keys.push_back(std::move(*key));
    } catch (const Error& error) {
      unreadable(name, error);
    }
  }
  std::sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return keys;
}

}  // namespace

KeyPair new_key_pair() {
  char public_key[kKeySize + 1], secret_key[kKeySize + 1];
  if (zmq_curve_keypair(public_key, secret_key) != 0) {
    throw Error("this ZeroMQ library was built without CURVE: install one with libsodium");
  }
  return {public_key, secret_key};
}

std::string to_string(Role role) {
  switch (role) {
    case Role::kWorker:
      return "worker";
    case Role::kClient:
      return "client";
    case Role::kAdmin:
      return "admin";
  }
  return "";
}

Role role_from(const std::string& text) {
  for (const Role role : {Role::kWorker, Role::kClient, Role::kAdmin}) {
    if (text == to_string(role)) return role;
  }
  throw Error("a key is for a worker, client or admin, not for \"" + text + "\"");
}

void write_key_file(const std::string& path, const KeyFile& file) {
  const std::string text =
      "# Headcount: the " + to_string(file.role) + " key " + file.name +
      ". Whoever has this file can use it: keep its mode 0600.\n" +
      "role = " + to_string(file.role) + "\nname = " + file.name + "\naddress = " + file.address +
      "\ncoordinator = " + file.coordinator_public + "\npublic = " + file.pair.public_key +
      "\nsecret = " + file.pair.secret_key + "\n";
  write_file(path, text, Readers::kOwner);
}

KeyFile read_key_file(const std::string& path) {
  auto members = read_members(read_private_file(path));
  const std::string role = members["role"];
  KeyFile file{.role = Role::kWorker,
               .name = members["name"],
               .address = members["address"],
               .coordinator_public = members["coordinator"],
               .pair = {members["public"], members["secret"]}};
  if (!is_key(file.coordinator_public) || !is_key(file.pair.public_key) ||
      !is_key(file.pair.secret_key) || file.address.empty() ||
      (role != "worker" && role != "client" && role != "admin")) {
    throw Error(
        path +
        " is not a Headcount key file, or is cut short: make one with `headcount key create`");
  }
  file.role = role_from(role);
  return file;
}

KeyPair coordinator_pair(const std::string& state_directory) {
  make_directories(state_directory);
  const std::string path = keys_directory(state_directory) + "/coordinator";
  if (access(path.c_str(), F_OK) != 0) {
    const KeyPair pair = new_key_pair();
    // Another process may have been quicker: then its pair is read below.
    make_file(path, "# Headcount: the coordinator's own key pair.\npublic = " + pair.public_key +
                        "\nsecret = " + pair.secret_key + "\n");
  }
  auto members = read_members(read_private_file(path));
  const KeyPair pair{members["public"], members["secret"]};
  if (!is_key(pair.public_key) || !is_key(pair.secret_key)) {
    throw Error(path +
                " is damaged: restore it, or remove it and make every key anew (it is what workers "
                "know this coordinator by)");
  }
  return pair;
}

KeyFile create_key(const std::string& state_directory, Role role, const std::string& name,
                   const std::string& address) {
  if (!is_name(name))
    throw BadInput(
        "\"" + name +
        "\" cannot name a key: use 1 to 64 letters, digits, '.', '-', '_', not starting with '.'");
  const KeyFile file{.role = role,
                     .name = name,
                     .address = address,
                     .coordinator_public = coordinator_pair(state_directory).public_key,
                     .pair = new_key_pair()};
  const std::string path = allowed_directory(state_directory) + "/" + name;
  if (!make_file(path, to_string(role) + " " + file.pair.public_key + " " + now_text() + "\n"))
    throw Error("there is a key named " + name +
                " already: choose another name, or revoke that one first");
  return file;
}

std::string address_elsewhere(const std::string& address) {
  char name[256] = "";
  for (const std::string all : {"tcp://0.0.0.0:", "tcp://[::]:", "tcp://*:"}) {
    if (address.starts_with(all) && gethostname(name, sizeof name - 1) == 0)
      return std::string("tcp://") + name + ":" + address.substr(all.size());
  }
  return address;
}

std::vector<AllowedKey> list_keys(const std::string& state_directory) {
  if (access(allowed_directory(state_directory).c_str(), F_OK) != 0 && errno == ENOENT) return {};
  return read_allowed(state_directory, [](const std::string&, const Error& why) {
    throw Error(std::string("a key cannot be read: ") + why.what());
  });
}

void revoke_key(const std::string& state_directory, const std::string& name) {
  const std::string path = allowed_directory(state_directory) + "/" + name;
  if (is_name(name) && unlink(path.c_str()) == 0) return;
  std::string names;
  for (const auto& key : list_keys(state_directory))
    names += (names.empty() ? "" : ", ") + key.name;
  throw Error("there is no key named \"" + name + "\"" +
              (names.empty() ? "" : "; there are: " + names));
}

KeyFile admin_key(const std::string& state_directory, const std::string& address) {
  const std::string path = admin_key_path(state_directory);
  const auto allowed = list_keys(state_directory);
  if (access(path.c_str(), F_OK) == 0) {
    KeyFile file = read_key_file(path);
    const bool valid = std::any_of(allowed.begin(), allowed.end(), [&](const auto& key) {
      return key.public_key == file.pair.public_key;
    });
    if (valid && file.coordinator_public == coordinator_pair(state_directory).public_key) {
      if (file.address != address) {
        file.address = address;
        write_key_file(path, file);
      }
      return file;
    }
  }
  std::string name = "admin";
  for (int i = 2; std::any_of(allowed.begin(), allowed.end(),
                              [&](const auto& key) { return key.name == name; });
       ++i) {
    name = "admin-" + std::to_string(i);
  }
  const KeyFile file = create_key(state_directory, Role::kAdmin, name, address);
  write_key_file(path, file);
  return file;
}

struct AllowList::Impl {
  /// The list as the folder has it now. What cannot be read for now stays as it was: only a file
  /// that is gone revokes a key.
  std::map<std::string, AllowedKey> read() {
    trouble.clear();
    std::map<std::string, AllowedKey> found;
    const auto all = read_allowed(state, [&](const std::string& name, const Error& why) {
      trouble = why.what();
      for (const auto& [public_key, key] : keys) {
        if (key.name == name) found[public_key] = key;
      }
    });
    for (const auto& key : all) found[key.public_key] = key;
    return found;
  }

  std::string state;
  mutable std::mutex mutex;
  std::map<std::string, AllowedKey> keys;  // by public key
  std::string trouble;
  timespec changed{};  // of the folder, when it was read whole
  std::chrono::steady_clock::time_point read_at{};
};

AllowList::AllowList(const std::string& state_directory) : impl_(std::make_unique<Impl>()) {
  impl_->state = state_directory;
  make_directories(state_directory);
  refresh();
  const std::string trouble = this->trouble();
  if (!trouble.empty()) throw Error("who may connect cannot be read: " + trouble);
}

AllowList::~AllowList() = default;

std::optional<AllowedKey> AllowList::find(const std::string& public_key) const {
  const std::lock_guard lock(impl_->mutex);
  const auto found = impl_->keys.find(public_key);
  return found == impl_->keys.end() ? std::nullopt : std::optional(found->second);
}

std::string AllowList::trouble() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->trouble;
}

bool AllowList::refresh() {
  const std::lock_guard lock(impl_->mutex);
  struct stat found {};
  const std::string folder = allowed_directory(impl_->state);
  if (stat(folder.c_str(), &found) != 0) {
    impl_->trouble = folder + ": " + std::strerror(errno);
    return false;
  }
  const auto now = std::chrono::steady_clock::now();
  const bool same = found.st_mtim.tv_sec == impl_->changed.tv_sec &&
                    found.st_mtim.tv_nsec == impl_->changed.tv_nsec && impl_->trouble.empty();
  // Two changes may share a time stamp: what was read within the last second is read again.
  if (same && now - impl_->read_at > std::chrono::seconds(1)) {
    const auto age = std::chrono::system_clock::now().time_since_epoch() -
                     std::chrono::seconds(found.st_mtim.tv_sec);
    if (age > std::chrono::seconds(5)) return false;
  } else if (same) {
    return false;
  }
  std::map<std::string, AllowedKey> keys;
  try {
    keys = impl_->read();
  } catch (const Error& error) {
    impl_->trouble = error.what();
    return false;
  }
  impl_->changed = found.st_mtim;
  impl_->read_at = now;
  const auto same_key = [](const auto& a, const auto& b) {
    return a.first == b.first && a.second.role == b.second.role;
  };
  const bool differs = keys.size() != impl_->keys.size() ||
                       !std::equal(keys.begin(), keys.end(), impl_->keys.begin(), same_key);
  impl_->keys = std::move(keys);
  return differs;
}

}  // namespace headcount::transport
