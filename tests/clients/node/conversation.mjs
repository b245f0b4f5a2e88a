// Holds one conversation with a client package and prints what came of it as one JSON object.
// usage: node conversation.mjs NAME BASE   (the test reads the object; see ../test_node.py)
import { createOpenAI } from '@ai-sdk/openai';
import { generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import { Ollama } from 'ollama';
import OpenAI from 'openai';
import { z } from 'zod';

globalThis.AI_SDK_LOG_WARNINGS = false; // they go to the standard output
const [name, base] = process.argv.slice(2);
const model = 'corral-tiny';
const capital = 'What is the capital of France?';
const weather = 'What is the weather in Paris?';
const report = 'sunny, 21 degrees';

async function gather(parts) {
  const texts = [];
  for await (const part of parts) texts.push(part);
  return texts;
}

async function ollama() {
  const client = new Ollama({ host: base });
  const common = { model, think: false, options: { temperature: 0, num_predict: 128 } };
  const whole = await client.chat({ ...common, messages: [{ role: 'user', content: capital }] });
  const pieces = [];
  for await (const part of await client.chat({
    ...common, messages: [{ role: 'user', content: capital }], stream: true,
  })) pieces.push(part.message.content);
  const tools = [{
    type: 'function',
    function: {
      name: 'get_weather',
      description: 'Get the weather of a city',
      parameters: {
        type: 'object',
        properties: { city: { type: 'string', description: 'The city' } },
        required: ['city'],
      },
    },
  }];
  const messages = [{ role: 'user', content: weather }];
  const first = await client.chat({ ...common, messages, tools });
  const calls = first.message.tool_calls.map((call) => call.function);
  messages.push(first.message, { role: 'tool', tool_name: calls[0].name, content: report });
  const second = await client.chat({ ...common, messages, tools });
  const embedded = await client.embed({ model: 'embed', input: ['hello', 'the sky'] });
  const listed = await client.list();
  return {
    whole: whole.message.content,
    pieces,
    calls: calls.map((call) => ({ name: call.name, arguments: call.arguments })),
    final: second.message.content,
    vectors: embedded.embeddings.length,
    isListed: listed.models.some((entry) => entry.name === `${model}:latest`),
  };
}

// The AI SDK on chat completions, or on responses, which it uses when nothing else is said.
async function ai(kind) {
  const provider = createOpenAI({ baseURL: `${base}/v1`, apiKey: 'none' });
  const common = {
    model: kind === 'chat' ? provider.chat(model) : provider(model),
    temperature: 0,
    maxOutputTokens: 256, // it thinks first
    maxRetries: 0,

  };
  const whole = await generateText({ ...common, prompt: capital });
  const stream = streamText({ ...common, prompt: capital });
  const pieces = await gather(stream.textStream);
  const made = () => {
    const calls = [];
    const tools = {
      get_weather: tool({
        description: 'Get the weather of a city',
        inputSchema: z.object({ city: z.string().describe('The city') }),
        execute: async (given) => {
          calls.push({ name: 'get_weather', arguments: given });
          return report;
        },
      }),
    };
    return { calls, tools, stopWhen: stepCountIs(3), prompt: weather };
  };
  const { calls, ...wanted } = made();
  const agent = await generateText({ ...common, ...wanted });
  const { calls: streamedCalls, ...streamedWanted } = made();
  const streamedAgent = streamText({ ...common, ...streamedWanted });
  const streamedFinal = await streamedAgent.text;
  const { object } = await generateObject({
    ...common,
    schema: z.object({ capital: z.string().max(20) }),
    prompt: 'What is the capital of Italy? Answer in JSON.',
  });
  return {
    whole: whole.text,
    pieces,
    calls,
    final: agent.text,
    streamedCalls,
    streamedFinal,
    object,
    usage: whole.usage.totalTokens,
  };
}

// OpenAI's own package: the helpers that put streams together check every event against what came before it.
async function openai() {
  const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: 'none', maxRetries: 0 });
  const quick = { model, temperature: 0, reasoning_effort: 'none', max_tokens: 128 };
  const messages = [{ role: 'user', content: capital }];
  const whole = await client.chat.completions.create({ ...quick, messages });
  const stream = client.chat.completions.stream({ ...quick, messages });
  const pieces = [];
  stream.on('content', (delta) => pieces.push(delta));
  await stream.finalChatCompletion();
  const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
  const seen = [];
  const runner = client.chat.completions.runTools({
    ...quick,
    messages: [{ role: 'user', content: weather }],
    tools: [{
      type: 'function',
      function: {
        name: 'get_weather',
        description: 'Get the weather of a city',
        parameters,
        parse: JSON.parse,
        function: (given) => { seen.push({ name: 'get_weather', arguments: given }); return report; },
      },
    }],
  });
  const final = await runner.finalContent();
  const kinds = [];
  const thinking = client.responses.stream({ model, input: 'What is 2+3?', temperature: 0 });
  for await (const event of thinking) kinds.push(event.type);
  const response = await thinking.finalResponse();
  const calling = client.responses.stream({
    model,
    input: weather,
    temperature: 0,
    reasoning: { effort: 'none' },
    tools: [{ type: 'function', name: 'get_weather', description: 'Get the weather of a city', parameters, strict: false }],
  });
  const called = (await calling.finalResponse()).output.filter((item) => item.type === 'function_call');
  const cut = client.responses.stream({ model, input: capital, max_output_tokens: 2, temperature: 0 });
  for await (const event of cut) kinds.push(event.type);
  return {
    whole: whole.choices[0].message.content,
    pieces,
    calls: seen,
    final,
    kinds,
    response: {
      text: response.output_text,
      reasoning: response.output.filter((item) => item.type === 'reasoning').map((item) => item.summary[0].text),
    },
    called: called.map((item) => ({ name: item.name, arguments: JSON.parse(item.arguments) })),
    last: kinds.at(-1),
  };
}

const conversations = { ollama, openai, chat: () => ai('chat'), responses: () => ai('responses') };
console.log(JSON.stringify(await conversations[name]()));
