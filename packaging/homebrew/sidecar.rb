class Sidecar < Formula
  desc "Process that lets an editor talk to every AI provider"
  homepage "@URL@"
  version "@VERSION@"
  license "MIT"

  on_macos do
    on_arm do
      url "@URL@/sidecar-@VERSION@-macos-arm64.tar.xz"
      sha256 "@SHA256_MACOS_ARM64@"
    end
    on_intel do
      url "@URL@/sidecar-@VERSION@-macos-x86_64.tar.xz"
      sha256 "@SHA256_MACOS_X86_64@"
    end
  end
  on_linux do
    on_arm do
      url "@URL@/sidecar-@VERSION@-linux-aarch64.tar.xz"
      sha256 "@SHA256_LINUX_AARCH64@"
    end
    on_intel do
      url "@URL@/sidecar-@VERSION@-linux-x86_64.tar.xz"
      sha256 "@SHA256_LINUX_X86_64@"
    end
  end

  def install
    libexec.install Dir["*"]
    bin.install_symlink libexec/"sidecar"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/sidecar --version")
    pong = pipe_output("#{bin}/sidecar", %q({"id":1,"action":"ping"}) + "\n")
    assert_match '"pong":true', pong
  end
end
