// A C++ exception of mingw-w64 that nothing catches: terminate(), abort().
#include <stdexcept>

int main() { throw std::runtime_error("nothing catches it"); }
