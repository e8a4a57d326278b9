import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerExtensionsValidatorCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;
import org.apache.kafka.server.policy.AlterConfigPolicy;

/** What MSK does with a token, less the signature, which only AWS can check: it must be a signed Connect of our key. */
public class BrokerSide implements AuthenticateCallbackHandler {
    public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {}

    public void close() {}

    public void handle(Callback[] callbacks) throws UnsupportedCallbackException {
        for (Callback one : callbacks) {
            if (one instanceof OAuthBearerValidatorCallback validation) {
                String url = new String(Base64.getUrlDecoder().decode(validation.tokenValue()), StandardCharsets.UTF_8);
                boolean isOurs = url.startsWith("https://kafka.eu-central-1.amazonaws.com")
                        && url.contains("Action=kafka-cluster%3AConnect")
                        && url.contains("X-Amz-Credential=AKIDEXAMPLE%2F") && url.contains("X-Amz-Signature=");
                if (isOurs) validation.token(token(validation.tokenValue()));
                else validation.error("invalid_token", null, null);
            } else if (one instanceof OAuthBearerExtensionsValidatorCallback extensions) {
                extensions.inputExtensions().map().keySet().forEach(extensions::valid);
            } else {
                throw new UnsupportedCallbackException(one);
            }
        }
    }

    private static OAuthBearerToken token(String value) {
        long now = System.currentTimeMillis();
        return new OAuthBearerToken() {
            public String value() { return value; }
            public Set<String> scope() { return Set.of(); }
            public long lifetimeMs() { return now + 900_000; }
            public String principalName() { return "AKIDEXAMPLE"; }
            public Long startTimeMs() { return now; }
        };
    }

    /** MSK Serverless takes a cleanup.policy at a topic's making only. */
    public static class Topics implements AlterConfigPolicy {
        public void configure(Map<String, ?> configs) {}

        public void close() {}

        public void validate(RequestMetadata asked) {
            if (asked.configs().containsKey("cleanup.policy")) throw new PolicyViolationException("cleanup.policy stays");
        }
    }
}
