// exceptions KIND: ends with, after or beside an exception of C++.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <future>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>

#define KEEP __attribute__((noinline, noclone))

/* Looks like an exception with a message, and has none. */
struct Plain {
  long code;
  const char *text;
};

static volatile int sink;

static KEEP void handle_bad_request() {
  try {
    sink = std::stoi("not a number");
  } catch (const std::exception &error) {
    sink = error.what()[0];
  }
}

struct Base {
  Base() { early(); }
  KEEP void early() { late(); }
  virtual void late() = 0;
};
struct Derived : Base {
  void late() override { sink = 1; }
};

static KEEP void check() { std::abort(); }

struct File {
  ~File() { throw std::runtime_error("close failed"); }
};

int main(int count, char **arguments) {
  std::map<std::string, std::function<void()>> kinds{
      {"plain", [] { throw Plain{7, "not a message"}; }},
      {"nested", [] {
         try {
           throw std::runtime_error("inner");
         } catch (...) {
           std::throw_with_nested(std::logic_error("outer \033[31m"));
         }
       }},
      {"future", [] {
         std::async(std::launch::async, [] { throw std::runtime_error("via future"); }).get();
       }},
      {"handled-then-abort", [] { handle_bad_request(); check(); }},
      {"handled-then-terminate", [] { handle_bad_request(); std::terminate(); }},
      {"handled-then-thread", [] {
         handle_bad_request();
         std::thread left([] { for (;;) std::this_thread::sleep_for(std::chrono::seconds(1)); });
       }},
      {"handled-then-pure", [] { handle_bad_request(); Derived derived; }},
      {"handled-then-trap", [] { handle_bad_request(); __builtin_trap(); }},
      {"handled-then-raise", [] { handle_bad_request(); raise(SIGABRT); }},
      {"abort-while-handling", [] {
         try {
           throw std::runtime_error("being handled");
         } catch (const std::exception &error) {
           sink = error.what()[0];
           check();
         }
       }},
      {"out-of-destructor", [] {
         try {
           File file;
         } catch (...) {
         }
       }},
      {"rethrow-nothing", [] { handle_bad_request(); throw; }},
  };
  kinds[count > 1 ? arguments[1] : "plain"]();
  return 2;
}
