// A C++ exception of mingw-w64 that nobody catches: terminate(), abort().
#include <stdexcept>

int main() { throw std::runtime_error("nobody catches it"); }
