import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** The JDK's own client, as Spring AI, LangChain4j and Ktor use it: it offers HTTP/2 with every first request. */
public class Client {
    static final String CHAT = "{\"model\":\"say\",\"messages\":[{\"role\":\"user\",\"content\":\"now A\"}],\"stream\":%s}";

    static HttpRequest.Builder request(String url) {
        return HttpRequest.newBuilder(URI.create(url)).header("Content-Type", "application/json");
    }

    static void print(String name, HttpResponse<String> answer) {
        System.out.println(name + " " + answer.statusCode() + " " + answer.body().replace("\n", "\\n"));
    }

    public static void main(String[] arguments) throws Exception {
        String base = arguments[0];
        String whole = String.format(CHAT, "false"), streamed = String.format(CHAT, "true");
        HttpClient client = HttpClient.newHttpClient();
        for (String path : new String[] {"/api/chat", "/v1/chat/completions"}) {
            print("sized", client.send(request(base + path).POST(BodyPublishers.ofString(whole)).build(), BodyHandlers.ofString()));
            print("stream", client.send(request(base + path).POST(BodyPublishers.ofString(streamed)).build(), BodyHandlers.ofString()));
            print("chunked", client.send(
                request(base + path).POST(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(whole.getBytes()))).build(),
                BodyHandlers.ofString()));
            print("expect", client.send(
                request(base + path).expectContinue(true).POST(BodyPublishers.ofString(whole)).build(), BodyHandlers.ofString()));
        }
        print("get", client.send(request(base + "/api/version").GET().build(), BodyHandlers.ofString()));
        print("large", client.send(
            request(base + "/api/chat").POST(BodyPublishers.ofString(whole.replace("now A", "now A" + " ".repeat(3000000)))).build(),
            BodyHandlers.ofString()));
        HttpClient plain = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        print("1.1", plain.send(request(base + "/api/chat").POST(BodyPublishers.ofString(whole)).build(), BodyHandlers.ofString()));
        HttpClient many = HttpClient.newHttpClient();
        var answers = IntStream.range(0, 20)
            .mapToObj(i -> many.sendAsync(request(base + "/api/chat").POST(BodyPublishers.ofString(whole)).build(), BodyHandlers.ofString()))
            .collect(Collectors.toList());
        for (CompletableFuture<HttpResponse<String>> answer : answers) {
            print("many", answer.get());
        }
    }
}
