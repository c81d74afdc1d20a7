// An exception that nobody catches: std::terminate calls abort.
#include <stdexcept>
int main() { throw std::runtime_error("nobody catches this"); }
