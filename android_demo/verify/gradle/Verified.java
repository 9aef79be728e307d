import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.security.MessageDigest;
import java.util.concurrent.atomic.AtomicBoolean;
import org.gradle.api.internal.artifacts.DefaultModuleIdentifier;
import org.gradle.api.internal.artifacts.ivyservice.ivyresolve.verification.ArtifactVerificationOperation.ArtifactKind;
import org.gradle.api.internal.artifacts.verification.serializer.DependencyVerificationsXmlReader;
import org.gradle.api.internal.artifacts.verification.signatures.SignatureVerificationService;
import org.gradle.api.internal.artifacts.verification.verifier.DependencyVerifier;
import org.gradle.internal.component.external.model.DefaultModuleComponentArtifactIdentifier;
import org.gradle.internal.component.external.model.DefaultModuleComponentIdentifier;
import org.gradle.internal.hash.ChecksumService;
import org.gradle.internal.hash.HashCode;

/**
 * METADATA.xml (GROUP NAME VERSION FILE)...: what Gradle's own reader and verifier make of files as those artifacts, a
 * line of accepted or refused each.
 */
class Verified {
    public static void main(String[] arguments) throws IOException {
        DependencyVerifier verifier;
        try (FileInputStream metadata = new FileInputStream(arguments[0])) {
            verifier = DependencyVerificationsXmlReader.readFromXml(metadata);
        }
        for (int i = 1; i < arguments.length; i += 4) {
            var module = DefaultModuleIdentifier.newId(arguments[i], arguments[i + 1]);
            var component = DefaultModuleComponentIdentifier.newId(module, arguments[i + 2]);
            var artifact = new DefaultModuleComponentArtifactIdentifier(component, arguments[i + 1], "jar", "jar");
            var refused = new AtomicBoolean();
            verifier.verify(
                SUMS, KEYS, ArtifactKind.REGULAR, artifact, new File(arguments[i + 3]), null, why -> refused.set(true));
            System.out.println(refused.get() ? "refused" : "accepted");
        }
    }

    private static final ChecksumService SUMS = standIn(ChecksumService.class, "sha256", Verified::sha256);

    /** Signatures are not asked for. */
    private static final SignatureVerificationService KEYS =
        standIn(SignatureVerificationService.class, "getPublicKeyService", file -> null);

    private interface Answer {
        Object to(File file) throws Exception;
    }

    /** Of Gradle's services the one question that comes; any other is an error. */
    private static <T> T standIn(Class<T> service, String question, Answer answer) {
        return service.cast(
            Proxy.newProxyInstance(
                service.getClassLoader(),
                new Class<?>[] {service},
                (proxy, method, with) -> {
                    if (!method.getName().equals(question)) throw new IllegalStateException(method.toString());
                    return answer.to(with == null ? null : (File) with[0]);
                }));
    }

    private static HashCode sha256(File file) throws Exception {
        return HashCode.fromBytes(MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file.toPath())));
    }
}
