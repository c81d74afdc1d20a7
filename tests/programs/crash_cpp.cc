// An exception that nothing catches: std::terminate calls abort.
#include <stdexcept>
int main() { throw std::runtime_error("nothing catches this"); }
